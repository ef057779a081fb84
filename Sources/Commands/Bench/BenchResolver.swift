import Core
import Net

/// Looks one name up and waits for the answer, before a run starts.
enum BenchResolver {
  private struct Waiter: EventHandler {
    var answer: Resolver.Answer?
    var isRunning: Bool { answer == nil }
    mutating func ready(token: UInt64, _ readiness: Readiness) {}
    mutating func receive(_ message: Resolver.Answer) { answer = message }
    mutating func endTurn() -> Instant { .never }
  }

  /// The first address of `host`, or why there is none.
  static func resolve(_ host: String) -> (IPAddress?, failure: String) {
    do throws(NetworkError) {
      let mailbox = try Mailbox<Resolver.Answer>()
      let resolver = try Resolver(threads: 1)
      resolver.resolve(host) { mailbox.send($0) }
      var waiter = Waiter()
      try EventLoop().run(&waiter, mailbox: mailbox)
      resolver.stop()
      switch waiter.answer {
      case .addresses(let addresses): return (addresses[0], "")
      case .failed(.notFound): return (nil, "no such name; check the URL")
      case .failed(.timedOut): return (nil, "the name service did not answer in time; try again or give an address")
      default: return (nil, "the name service does not work; give an address")
      }
    } catch {
      return (nil, error.explanation)
    }
  }
}
