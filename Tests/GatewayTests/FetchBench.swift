// The fetches of a node on a simulated network: the control loop's part, and the desk and the book of one loop.

import Core
import Crypto
import Pipeline
import Simulation
import Testing

@testable import Gateway

/// Runs ``ControlFetches`` as the control loop does.
struct FetchHandler: EventHandler {
  typealias Message = FetchMessage

  /// What goes to and fro.
  final class Letters {
    var orders: [FetchMessage] = []
    var lines: [String] = []
    var looks: [String] = []
    var news: [IssuerNews] = []
    /// What names stand for; a name that is not here has no address.
    var names: [String: [IPAddress]] = [:]
    /// Names that nobody ever answers for.
    var silent: Set<String> = []
  }

  let world: any World
  let letters: Letters
  var fetches: ControlFetches
  var tell: (FetchNews) -> Void = { _ in }
  var isRunning: Bool { true }

  init(_ world: any World, _ letters: Letters) {
    (self.world, self.letters) = (world, letters)
    fetches = ControlFetches(world: world)
  }

  mutating func ready(token: UInt64, _ readiness: Readiness) { fetches.ready(Token(rawValue: token)) }

  mutating func receive(_ message: FetchMessage) { fetches.receive(message) }

  mutating func endTurn() -> Instant {
    let (letters, tell) = (letters, tell)
    let next = fetches.advance(
      ControlFetches.Surroundings {
        letters.lines.append($0)
      } look: { host, attempt in
        letters.looks.append(host)
        guard !letters.silent.contains(host) else { return }
        letters.orders.append(.resolved(attempt, IPAddress(host).map { [$0] } ?? letters.names[host]))
      } tell: { _, news in
        if case .issuer(let news) = news { letters.news.append(news) }
        tell(news)
      })
    // Mail of the loop that it comes from: taken with the next turn.
    let orders = letters.orders
    letters.orders = []
    for order in orders { fetches.receive(order) }
    return orders.isEmpty ? next : world.now
  }
}

/// The fetches, and what is around them.
final class FetchBench {
  static let here = IPAddress(v4: 0x7f00_0001)
  static let far = IPAddress(v4: 0x0a00_0101)
  static let issuer = "https://server.test"
  static let authority = String(decoding: TestCertificates.authority, as: UTF8.self)

  let world: SimulatedWorld
  let letters = FetchHandler.Letters()
  let node: SimulatedNode<FetchHandler>
  let desk: FetchDesk
  let book: IssuerBook
  /// Tickets that were called, and what for.
  private(set) var outcomes: [UInt64: FetchOutcome] = [:]
  private(set) var called: [UInt64] = []
  /// Called for a ticket instead of taking its outcome.
  var onCall: ((UInt64) -> Void)?

  init(seed: UInt64 = 1, _ conditions: Conditions = .rough) {
    let (world, letters) = (SimulatedWorld(seed: seed, conditions), letters)
    self.world = world
    node = world.start("control") { FetchHandler($0, letters) }
    let loop = node.loop
    desk = FetchDesk(world: loop) { order in
      letters.orders.append(.begin(order, loop: 0))
      loop.poke()
      return true
    }
    book = IssuerBook(world: loop) { source in
      letters.orders.append(.ask(source))
      loop.poke()
      return true
    }
    letters.names = ["server.test": [Self.far], "other.test": [Self.far]]
    node.handler.tell = { [unowned self] in take($0) }
  }

  private func take(_ news: FetchNews) {
    switch news {
    case .outcome(let outcome, let order): desk.take(outcome, of: order)
    case .issuer(let news): book.take(news)
    }
    while let ticket = desk.nextCalled() {
      called.append(ticket)
      if let onCall { onCall(ticket) } else { outcomes[ticket] = desk.outcome(ticket: ticket) }
    }
    while let ticket = book.nextCalled() {
      called.append(ticket)
      onCall?(ticket)
    }
  }

  /// Fetches something and waits for what becomes of it.
  func fetch(_ request: FetchRequest, within limit: Duration = .seconds(60)) throws -> FetchOutcome {
    let ticket = UInt64(called.count + 1) << 32
    try #require(desk.begin(request, ticket: ticket))
    world.run(within: limit) { outcomes[ticket] != nil }
    return try #require(outcomes[ticket], "no outcome")
  }

  func fetch(_ url: String, within limit: Duration = .seconds(60)) throws -> FetchOutcome {
    try fetch(FetchRequest(try #require(FetchURL(url, allowsPlain: true))), within: limit)
  }

  /// Serves plain HTTP: the answer follows from what is asked for.
  @discardableResult
  func serve(
    _ address: IPAddress = FetchBench.here, port: UInt16 = 8080, _ answer: @escaping (WireMessage) -> String
  ) -> ScriptedServer {
    var readers: [ObjectIdentifier: (reader: WireReader, answered: Int)] = [:]
    return world.serve(.ip(address, port: port)) { peer in
      var (reader, answered) = readers[ObjectIdentifier(peer)] ?? (WireReader(isResponse: false), 0)
      reader.read(peer.take())
      while answered < reader.messages.count {
        answered += 1
        let text = answer(reader.messages[answered - 1])
        if !peer.isOver, !text.isEmpty { peer.send(text) }
      }
      readers[ObjectIdentifier(peer)] = (reader, answered)
    }
  }

  /// Serves TLS as `server.test`. The answer is followed by the end of the stream, in good order with `ends`.
  @discardableResult
  func serveTLS(ends: Bool = true, _ answer: @escaping (String) -> String) throws -> ScriptedServer {
    let context = try TLSServerContext(
      TLSServerSettings(credentials: [
        try TLSCredential(certificate: TestCertificates.server, key: TestCertificates.serverKey)
      ]))
    var sessions: [ObjectIdentifier: SecurePeer] = [:]
    return world.serve(.ip(Self.far, port: 443)) { peer in
      let key = ObjectIdentifier(peer)
      if sessions[key] == nil { sessions[key] = try? SecurePeer(peer, context, ends: ends, answer) }
      sessions[key]?.changed()
    }
  }

  /// An answer of this length.
  static func answer(_ body: String, status: String = "200 OK", _ fields: String = "") -> String {
    "HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\n\(fields)\r\n\(body)"
  }
}

/// The server's end of one TLS connection, which answers each head.
final class SecurePeer {
  private let peer: Peer
  private let wire = TLSWire()
  private let session: TLSSession
  private let plain = ByteBuffer()
  private let ends: Bool
  private let answer: (String) -> String
  private var hasEnded = false

  init(_ peer: Peer, _ context: TLSServerContext, ends: Bool, _ answer: @escaping (String) -> String) throws {
    (self.peer, self.ends, self.answer) = (peer, ends, answer)
    session = try TLSSession(context, wire: wire)
  }

  func changed() {
    guard !hasEnded, !peer.wasReset else { return }
    wire.incoming.append(peer.take())
    do throws(TLSFault) {
      if try session.shakeHands() { try session.receive(into: plain, limit: 65_536) }
      if plain.text.contains("\r\n\r\n") {
        hasEnded = true
        let text = Array(answer(plain.text).utf8)
        try session.send(RawSpan(text))
        if ends { session.endSending() }
      }
    } catch { hasEnded = true }
    if !wire.outgoing.isEmpty { peer.send(wire.outgoing.array) }
    wire.outgoing.removeAll()
    if hasEnded { peer.close() }
  }
}
