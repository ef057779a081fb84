import Core
import Simulation

/// A server behind the gateway: reads requests and lets the test answer each one.
final class Origin {
  /// One connection of the gateway to it.
  final class Connection {
    let peer: Peer
    let reader = WireReader(isResponse: false)
    fileprivate var answered = 0
    private var hasReplied = false
    private var isClosed = false

    fileprivate init(_ peer: Peer) { self.peer = peer }

    /// Sends a response with a length.
    func reply(_ body: String, status: String = "200 OK", _ fields: String = "") {
      send("HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\n\(fields)\r\n\(body)")
    }

    /// Replies, the first time it is asked to.
    func onceReply(_ body: String, status: String) {
      guard !hasReplied else { return }
      hasReplied = true
      reply(body, status: status)
    }

    /// Sends text as it is.
    func send(_ text: String) {
      if !isClosed, !peer.wasReset { peer.send(text) }
    }

    /// Closes behind what was sent.
    func close() {
      isClosed = true
      peer.close()
    }
  }

  private(set) var connections: [Connection] = []
  /// Complete requests of all connections, in the order of their arrival.
  private(set) var requests: [WireMessage] = []
  /// Called at every change, requests or not.
  var onChange: ((Connection) -> Void)?
  /// Whether it closes when the gateway has ended its direction.
  var closesWithGateway = true
  /// Whether requests with Upgrade are the last that is HTTP.
  var acceptsUpgrades = false
  let server: ScriptedServer
  private let answer: (Connection, WireMessage) -> Void

  init(_ world: SimulatedWorld, _ address: SocketAddress, _ answer: @escaping (Connection, WireMessage) -> Void) {
    self.answer = answer
    var changed: (Peer) -> Void = { _ in }
    server = world.serve(address) { changed($0) }
    changed = { [self] in self.changed($0) }
  }

  /// Answers with what was asked.
  static func echo(_ connection: Connection, _ request: WireMessage) {
    connection.reply("\(request.method) \(request.target) \(request.text)")
  }

  /// The targets of all requests.
  var targets: [String] { requests.map(\.target) }

  private func changed(_ peer: Peer) {
    var connection: Connection! = connections.last { $0.peer === peer }
    if connection == nil {
      connection = Connection(peer)
      connection.reader.becomesTunnel = acceptsUpgrades
      connections.append(connection)
    }
    connection.reader.read(peer.take())
    onChange?(connection)
    while connection.answered < connection.reader.messages.count {
      let request = connection.reader.messages[connection.answered]
      connection.answered += 1
      requests.append(request)
      answer(connection, request)
    }
    if closesWithGateway, peer.hasEnded { connection.close() }
  }
}
