#pragma once
// Bounds of the histograms: those of vLLM, so that boards and alerts made for it show data; 2.0 and
// 3.0 s added to the time to the first token (an alert on two seconds needs them), finer ones to
// the time between tokens (fast machines). Constants.

#include <vector>

namespace sparrow::metric_buckets {

inline const std::vector<double> kFirstTokenSeconds = {.001, .005, .01, .02, .04, .06, .08, .1,
                                                       .25,  .5,   .75, 1,   2,   2.5, 3,   5,
                                                       7.5,  10,   20,  40,  80,  160, 640, 2560};
inline const std::vector<double> kTokenSeconds = {.001, .0025, .005, .01, .025, .05, .075, .1,
                                                  .15,  .2,    .3,   .4,  .5,   .75, 1,    2.5,
                                                  5,    7.5,   10,   20,  40,   80};
inline const std::vector<double> kRequestSeconds = {
    .3, .5, .8, 1, 1.5, 2, 2.5, 3, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
inline const std::vector<double> kStepSeconds = {
    .001, .0025, .005, .01, .025, .05, .1, .15, .2, .25, .3, .4, .5, .75, 1, 2, 5, 10, 30, 60};
inline const std::vector<double> kStepRows = {1,   8,    16,   32,   64,   128,  256,
                                              512, 1024, 2048, 4096, 8192, 16384};
inline const std::vector<double> kChoices = {1, 2, 5, 10, 20};

// 1, 2, 5, 10, 20, 50 … up to the longest sequence.
inline std::vector<double> tokens_up_to(int max_tokens) {
  std::vector<double> bounds;
  for (double decade = 1; decade <= max_tokens; decade *= 10) {
    for (const double factor : {1, 2, 5}) {
      if (decade * factor <= max_tokens) bounds.push_back(decade * factor);
    }
  }
  return bounds;
}

}  // namespace sparrow::metric_buckets
