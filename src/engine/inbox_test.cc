#include "engine/inbox.h"

#include <gtest/gtest.h>

namespace sparrow {
namespace {

Submission submission(uint64_t id, int num_choices = 1) {
  Submission made;
  made.request.id = id;
  made.request.num_choices = num_choices;
  return made;
}

TEST(Inbox, Full_RefusesAndTakesAgainAfterADrain) {
  Inbox inbox(2);
  EXPECT_TRUE(inbox.try_submit(submission(1)).ok());
  EXPECT_TRUE(inbox.try_submit(submission(2)).ok());
  EXPECT_EQ(inbox.try_submit(submission(3)).code(), StatusCode::kResourceExhausted);
  std::vector<Submission> submissions;
  std::vector<uint64_t> cancels;
  inbox.drain(submissions, cancels);
  EXPECT_EQ(submissions.size(), 2u);
  EXPECT_TRUE(inbox.try_submit(submission(3)).ok());
}

TEST(Inbox, LiveId_IsRefusedUntilAllItsChoicesEnded) {
  Inbox inbox(8);
  EXPECT_TRUE(inbox.try_submit(submission(1, 2)).ok());
  EXPECT_EQ(inbox.try_submit(submission(1)).code(), StatusCode::kInvalidArgument);
  inbox.retire(std::vector<uint64_t>{1});
  EXPECT_EQ(inbox.try_submit(submission(1)).code(), StatusCode::kInvalidArgument);
  inbox.retire(std::vector<uint64_t>{1});
  EXPECT_TRUE(inbox.try_submit(submission(1)).ok());
}

TEST(Inbox, Cancels_AreBoundedByLiveRequests) {
  Inbox inbox(8);
  EXPECT_TRUE(inbox.try_submit(submission(1)).ok());
  for (int i = 0; i < 1000; ++i) {
    inbox.cancel(1);
    inbox.cancel(static_cast<uint64_t>(i) + 2);
  }
  std::vector<Submission> submissions;
  std::vector<uint64_t> cancels;
  inbox.drain(submissions, cancels);
  EXPECT_EQ(cancels, std::vector<uint64_t>{1});
}

TEST(Inbox, Closed_RefusesAndKeepsWhatItHas) {
  Inbox inbox(8);
  EXPECT_TRUE(inbox.try_submit(submission(1)).ok());
  inbox.close();
  EXPECT_EQ(inbox.try_submit(submission(2)).code(), StatusCode::kUnavailable);
  EXPECT_FALSE(inbox.empty());
}

TEST(Inbox, Abort_IsReportedOnceWithWhatCameBefore) {
  Inbox inbox(8);
  EXPECT_TRUE(inbox.try_submit(submission(1)).ok());
  inbox.abort_all(FinishReason::kCancelled);
  EXPECT_TRUE(inbox.try_submit(submission(2)).ok());
  std::vector<Submission> submissions;
  std::vector<uint64_t> cancels;
  const auto abort = inbox.drain(submissions, cancels);
  ASSERT_TRUE(abort.has_value());
  EXPECT_EQ(abort->reason, FinishReason::kCancelled);
  EXPECT_EQ(abort->num_before, 1u);
  EXPECT_EQ(submissions.size(), 2u);
  EXPECT_FALSE(inbox.drain(submissions, cancels).has_value());
}

}  // namespace
}  // namespace sparrow
