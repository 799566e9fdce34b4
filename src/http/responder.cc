#include "http/connection.h"

namespace sparrow::http {
namespace {

class ExchangeResponder final : public Responder {
 public:
  ExchangeResponder(std::shared_ptr<Connection> connection, uint64_t exchange_id)
      : connection_(std::move(connection)), exchange_id_(exchange_id) {}

  // On whichever thread holds the last reference. A connection whose exchange has ended is only
  // memory, so it may die here; one that still waits is told on its own thread.
  ~ExchangeResponder() override {
    if (ended_) return;
    AsioLoop& loop = connection_->loop();
    loop.post(
        [connection = std::move(connection_), id = exchange_id_] { connection->abandon(id); });
  }

  void send(Response response) override {
    ended_ = true;
    connection_->send(exchange_id_, std::move(response));
  }
  void start_stream(int status, std::string content_type, Headers headers) override {
    connection_->start_stream(exchange_id_, status, content_type, headers);
  }
  bool write(std::string bytes) override { return connection_->write(exchange_id_, bytes); }
  void finish() override {
    ended_ = true;
    connection_->finish(exchange_id_);
  }
  void on_close(std::function<void()> callback) override {
    connection_->on_close(exchange_id_, std::move(callback));
  }
  void when_sent(std::function<void()> task) override {
    connection_->when_sent(exchange_id_, std::move(task));
  }
  bool closed() const override { return !connection_->is_open(exchange_id_); }
  IoLoop& loop() override { return connection_->loop(); }

 private:
  std::shared_ptr<Connection> connection_;
  const uint64_t exchange_id_;
  bool ended_ = false;
};

}  // namespace

std::shared_ptr<Responder> make_responder(std::shared_ptr<Connection> connection,
                                          uint64_t exchange_id) {
  return std::make_shared<ExchangeResponder>(std::move(connection), exchange_id);
}

}  // namespace sparrow::http
