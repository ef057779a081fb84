import Core
import Net
import Synchronization

extension Verb {
  /// `sluice echo`
  static let echo = Verb(
    "echo", "[OPTIONS]",
    summary: "a small upstream for trials",
    description: """
      Answers every request with its description as JSON, or with a fixed body. Some paths mean something:
        /status/NNN  that status                /bytes/N    N bytes         /echo   the request's body, streamed back
        /delay/MS    answers so much later      /chunked/N  N bytes, chunked   /close  ends in the middle of the body
        /events      a server-sent event a second (/events/MS: every MS milliseconds)
      An Upgrade is accepted on any path: WebSocket messages, or else plain bytes, are sent back.
      """,
    options: [
      Option(
        "--address", "-a", value: "ADDRESS",
        "where to listen (127.0.0.1:9001); port 0 takes a free one and prints it; unix:/path", alias: "--listen"),
      Option("--threads", "-t", value: "N", "threads that serve (1)"),
      Option("--plain", "answer `ok` in place of the description"),
      Option("--body-bytes", value: "N", "answer so many bytes in place of the description"),
      Option("--status", value: "NNN", "answer with that status (200)"),
      Option("--delay", value: "TIME", "answer so much later"),
      Option("--chunked", "send bodies in chunks"),
      Option("--quiet", "-q", "do not print where it listens"),
    ],
    examples: ["sluice echo --address 127.0.0.1:9001", "sluice echo --address unix:/tmp/echo.sock --body-bytes 1024"],
    run: { (arguments) throws(UsageError) in try EchoCommand.run(arguments) })
}

enum EchoCommand {
  private struct Control: EventHandler {
    typealias Message = Void
    let orders: [Mailbox<EchoOrder>]
    var count = 0
    var isRunning: Bool { count < 1 }
    mutating func ready(token: UInt64, _ readiness: Readiness) {}
    mutating func receive(_ message: Void) {
      count += 1
      for mailbox in orders { mailbox.send(.stop) }
    }
    mutating func endTurn() -> Instant { .never }
  }

  static func run(_ arguments: Arguments) throws(UsageError) -> ExitStatus {
    if let word = arguments.operands.first {
      throw UsageError("unexpected \(word); give where to listen with --address")
    }
    let text = arguments.value("--address") ?? "127.0.0.1:9001"
    guard let address = SocketAddress(text) else {
      throw UsageError("--address \(text): give an address such as 127.0.0.1:9001 or unix:/tmp/echo.sock")
    }
    let threads = try arguments.integer("--threads", in: 1...256) ?? 1
    let settings = try settings(arguments)
    ProcessLimits.raiseDescriptors()
    do throws(NetworkError) {
      try serve(settings, address, threads: threads, isQuiet: arguments.has("--quiet"))
      return .done
    } catch {
      Console.error("sluice echo: \(address): \(error.explanation); choose another --address\n")
      return .failed
    }
  }

  static func settings(_ arguments: Arguments) throws(UsageError) -> EchoSettings {
    var settings = EchoSettings()
    settings.status = try arguments.integer("--status", in: 200...599) ?? 200
    settings.isChunked = arguments.has("--chunked")
    let longest = Duration.milliseconds(EchoAction.millisecondsLimit)
    settings.delayMilliseconds = (try arguments.nanoseconds("--delay", in: .zero...longest) ?? 0) / 1_000_000
    if let count = try arguments.integer("--body-bytes", in: 0...EchoSettings.bodyLimit) {
      if arguments.has("--plain") { throw UsageError("--plain and --body-bytes exclude each other; give one of them") }
      settings.fixedBody = Array(repeating: UInt8(ascii: "x"), count: count)
    } else if arguments.has("--plain") {
      settings.fixedBody = Array("ok\n".utf8)
    }
    return settings
  }

  private static func serve(
    _ settings: EchoSettings, _ address: SocketAddress, threads: Int, isQuiet: Bool
  ) throws(NetworkError) {
    let stops = try Mailbox<Void>()
    Signals.watch([.interrupt, .terminate]) { _ in stops.send(()) }
    let control = try EventLoop()
    // The port is taken here once, so that a free one is known before the threads share it.
    let place = try control.listen(address, ListenOptions(), token: 0)
    let bound = control.localAddress(of: place) ?? address
    let chosen = if case .unix = address { address } else { bound }
    var settings = settings
    settings.name = chosen.description
    var orders: [Mailbox<EchoOrder>] = []
    for _ in 0..<threads { orders.append(try Mailbox()) }
    let ready = try Mailbox<NetworkError?>()
    let running = orders.enumerated().map { [settings] index, mailbox in
      OSThread.spawn(name: "echo \(index)") { work(settings, chosen, mailbox, ready) }
    }
    var start = Start(threads: threads)
    try EventLoop().run(&start, mailbox: ready)
    control.close(place, reset: false)
    if let failure = start.failure {
      for mailbox in orders { mailbox.send(.stop) }
      for thread in running { thread.join() }
      throw failure
    }
    if !isQuiet { Console.output("listening on \(chosen)\n") }
    var stop = Control(orders: orders)
    try control.run(&stop, mailbox: stops)
    for thread in running { thread.join() }
  }

  /// Waits until every thread listens, or one cannot.
  private struct Start: EventHandler {
    typealias Message = NetworkError?
    var threads: Int
    var failure: NetworkError?
    var isRunning: Bool { threads > 0 }
    mutating func ready(token: UInt64, _ readiness: Readiness) {}
    mutating func receive(_ message: NetworkError?) {
      threads -= 1
      failure = failure ?? message
    }
    mutating func endTurn() -> Instant { .never }

    init(threads: Int) { self.threads = threads }
  }

  private static func work(
    _ settings: EchoSettings, _ address: SocketAddress, _ orders: Mailbox<EchoOrder>, _ ready: Mailbox<NetworkError?>
  ) {
    do throws(NetworkError) {
      let loop = try EventLoop()
      let listener = try loop.listen(address, ListenOptions(), token: EchoFlow<EventLoop>.listenerToken)
      ready.send(nil)
      var flow = EchoFlow(settings, world: loop, listener: listener)
      try loop.run(&flow, mailbox: orders)
    } catch {
      ready.send(error)
    }
  }
}
