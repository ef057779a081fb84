import Core
import Crypto
import Net
import Synchronization

extension Verb {
  /// `sluice echo`
  static let echo = Verb(
    "echo", "[OPTIONS]",
    summary: "a small upstream for trials: HTTP, gRPC, WebSocket",
    description: """
      Answers every request with its description as JSON, or with a fixed body. Some paths mean something:
        /status/NNN  that status                /bytes/N    N bytes         /echo   the request's body, streamed back
        /delay/MS    answers so much later      /chunked/N  N bytes, chunked   /close  ends in the middle of the body
        /events      a server-sent event a second (/events/MS: every MS milliseconds)
      An Upgrade is accepted on any path: WebSocket messages, or else plain bytes, are sent back. HTTP/2 is spoken to whoever
      begins with it, and TLS where there is a certificate, all on one port. Over HTTP/2 any call of gRPC gets each of its
      messages back as it comes, and one of a method called Collect all of them as one, in the end.
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
      Option("--tls-cert", value: "FILE", "speak TLS too, with this certificate and its chain (PEM)"),
      Option("--tls-key", value: "FILE", "the certificate's key (PEM)"),
      Option("--quiet", "-q", "do not print where it listens"),
    ],
    examples: [
      "sluice echo --address 127.0.0.1:9001", "sluice echo --address unix:/tmp/echo.sock --body-bytes 1024",
      "sluice echo --address 127.0.0.1:9443 --tls-cert server.pem --tls-key server.key",
    ],
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
    try readSecurity(arguments, into: &settings)
    return settings
  }

  private static func readSecurity(_ arguments: Arguments, into settings: inout EchoSettings) throws(UsageError) {
    guard let certificate = arguments.value("--tls-cert"), let key = arguments.value("--tls-key") else {
      if arguments.value("--tls-cert") != nil { throw UsageError("--tls-cert needs its key; give --tls-key FILE") }
      if arguments.value("--tls-key") != nil { throw UsageError("--tls-key needs a certificate; give --tls-cert FILE") }
      return
    }
    let texts = (try pem(certificate, "--tls-cert"), try pem(key, "--tls-key"))
    do throws(TLSFault) {
      var options = TLSServerSettings(credentials: [try TLSCredential(certificate: texts.0, key: texts.1)])
      options.protocols = ["h2", "http/1.1"]
      settings.security = try TLSServerContext(options)
    } catch {
      throw UsageError("--tls-cert \(certificate): \(error.message)")
    }
    settings.tickets = TLSTicketKeys(seeds: [SecureRandom.bytes(TLSTicketKeys.seedBytes)])
  }

  private static func pem(_ path: String, _ option: String) throws(UsageError) -> [UInt8] {
    do throws(Console.FileError) {
      return try Console.read(path, limit: pemLimit)
    } catch {
      throw UsageError("\(option): \(error.message)")
    }
  }

  /// The most bytes of a certificate's file.
  private static let pemLimit = 1 << 20

  private static func serve(
    _ settings: EchoSettings, _ address: SocketAddress, threads: Int, isQuiet: Bool
  ) throws(NetworkError) {
    let stops = try Mailbox<Void>()
    Signals.watch([.interrupt, .terminate]) { _ in stops.send(()) }
    let control = try EventLoop()
    // A free port is taken here once, so that it is known before the threads share it. Nobody else knows it until then: who
    // connected to this listener would be dropped with it.
    var (chosen, place) = (address, Socket?.none)
    if case .ip(_, port: 0) = address {
      let taken = try control.listen(address, ListenOptions(), token: 0)
      chosen = control.localAddress(of: taken) ?? address
      place = taken
    }
    var settings = settings
    settings.name = chosen.description
    var orders: [Mailbox<EchoOrder>] = []
    for _ in 0..<threads { orders.append(try Mailbox()) }
    let ready = try Mailbox<NetworkError?>()
    let running = orders.enumerated().map { [settings] index, mailbox in
      OSThread.spawn(name: "echo \(index)") { [chosen] in work(settings, chosen, mailbox, ready) }
    }
    var start = Start(threads: threads)
    try EventLoop().run(&start, mailbox: ready)
    if let place { control.close(place, reset: false) }
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
