// Connections that speak TLS: how it begins, and what requests learn of it. The bytes are the transport's business.

import Core
import Crypto
import HTTP
import Net
import Pipeline
import Traffic

extension RequestFlow {
  /// TLS begins on a connection whose listener speaks it; what has been received of it waits in `exchange`, where there is
  /// one. False where it must not, and the connection is closed.
  @discardableResult
  mutating func secure(_ index: Int32, _ exchange: Int32 = -1) -> Bool {
    // The listener may have been changed since the connection was accepted.
    guard let tls = listeners[Int(clients[index].listener)].tls, world.canSecure(clients[index].socket) else {
      return true
    }
    guard mayShakeHands(clients[index].peer, tls.options) else {
      metrics.countRefusedConnection(.handshakeLimit)
      close(client: index, reset: true)
      return false
    }
    world.setTickets(node.ticketKeys)
    if exchange >= 0 {
      let received = exchanges[exchange].clientInput
      world.secure(clients[index].socket, tls.context, received: received.bytes, tls.options.handshake)
      giveBack(exchange: exchange)
    } else {
      world.secure(clients[index].socket, tls.context, tls.options.handshake)
    }
    return true
  }

  /// An event of a connection that is more than a descriptor: tells what it means for the flow.
  @inline(never)
  mutating func transportReady(_ token: Token, _ readiness: Readiness) {
    if let event = world.ready(token: token.rawValue, readiness) { ready(token: event.token, event.readiness) }
  }

  /// Takes what has happened to such connections without an event.
  @inline(never)
  mutating func takeTransportEvents() {
    while let event = world.nextEvent() { ready(token: event.token, event.readiness) }
  }

  private func mayShakeHands(_ peer: IPAddress, _ options: ListenerTLSOptions) -> Bool {
    limits.trustedProxies.contains { $0.contains(peer) }
      || node.handshakes.admits(
        peer, AddressLedger.Rate(count: options.handshakesPerAddress, span: 1_000_000_000), now: loop.now)
  }

  /// Begins to connect to an exchange's endpoint.
  mutating func connectSecurely(
    _ exchange: Int32, _ token: UInt64, _ tls: UpstreamTLS
  ) throws(NetworkError) -> Socket {
    let position = Int(exchanges[exchange].position)
    guard let endpoint = exchanges[exchange].endpoints?.with({ $0.set.endpoints[position] }) else { throw .refused }
    return try world.connect(
      to: endpoint.state.address, token: token, tls.context, name: tls.name(of: endpoint),
      resumption: tls.resumption(of: endpoint))
  }

  /// Gives up connections to upstreams that are spoken to otherwise now.
  mutating func leaveReplaced(_ former: LoopConfiguration) {
    for old in former.upstreams {
      let new = configuration.upstreams.first { $0.plan.spec.name == old.plan.spec.name }
      guard let new else { continue }
      if new.plan.spec.tls == old.plan.spec.tls, new.speaksHTTP2 == old.speaksHTTP2 { continue }
      old.isReplaced = true
      for endpoint in old.plan.endpoints.endpoints + new.plan.endpoints.endpoints {
        while case let idle = pool.takeOldest(endpoint: endpoint.state.id), idle >= 0 {
          close(server: idle, reset: false)
        }
      }
    }
  }

  /// What an exchange knows of its connection's TLS.
  mutating func noteSecurity(_ exchange: Int32, _ client: Int32) {
    exchanges[exchange].isHTTP2 = clients[client].carrier >= 0
    guard let facts = world.facts(of: clients[client].socket) else { return }
    exchanges[exchange].exchange.isSecure = true
    exchanges[exchange].exchange.certificate = facts.peer
    exchanges[exchange].tls = AccessTLS(isTLS13: facts.version == .tls13, isResumed: facts.isResumed)
    guard let tls = listeners[Int(clients[client].listener)].tls, !tls.options.strictTransport.isEmpty else { return }
    exchanges[exchange].exchange.responseFields.append(tls.options.strictTransport)
  }

  /// Whether a listener has an answer of its own for a request, and that has been given: that https should be asked, or
  /// that it came too early. Only called where there are such listeners.
  mutating func isAnswered(_ exchange: Int32) -> Bool {
    let listener = Int(exchanges[exchange].exchange.listener)
    guard listeners.indices.contains(listener) else { return false }
    if let port = listeners[listener].redirect {
      redirect(exchange, toSecurePort: port)
      return true
    }
    guard listeners[listener].acceptsEarlyData, world.isEarly(clients[exchanges[exchange].client].socket) else {
      return false
    }
    guard request.isHarmless, exchanges[exchange].requestBody.isComplete else {
      refuse(exchange, ProblemCatalogue.tooEarly)
      return true
    }
    markEarly(exchange)
    return false
  }

  /// Tells the upstream that a request may be sent again by somebody else (RFC 8470 section 5.1). One who has said so before stays
  /// in the message, early or not.
  private mutating func markEarly(_ exchange: Int32) {
    let name = Array("early-data".utf8)
    for index in 0..<request.fieldCount where request.field(index).name == .other {
      if request.name(of: index).array.map({ $0 | 0x20 }) == name { return }
    }
    exchanges[exchange].exchange.requestFields.append("Early-Data: 1\r\n")
  }
}

/// What the access log says of a connection's TLS.
struct AccessTLS {
  let isTLS13: Bool
  let isResumed: Bool
}

extension RequestHead {
  /// Whether a request may be done twice without a difference (RFC 8470 section 3): it changes nothing, and asks for no
  /// other protocol.
  fileprivate var isHarmless: Bool { upgrade == nil && (method == .get || method == .head || method == .options) }
}

extension LoopMetrics {
  /// Counts how a handshake ended.
  func countHandshake(_ outcome: HandshakeOutcome) {
    switch outcome {
    case .full: add(to: .handshakesFull)
    case .resumed: add(to: .handshakesResumed)
    case .failed(let failure): countHandshakeFailure(HandshakeFault(failure))
    case .timedOut: countHandshakeFailure(.timedOut)
    case .abandoned: countHandshakeFailure(.abandoned)
    case .tooLarge: countHandshakeFailure(.tooLarge)
    }
  }
}

extension HandshakeFault {
  init(_ failure: TLSHandshakeFailure) {
    switch failure {
    case .notTLS: self = .notTLS
    case .version: self = .version
    case .noCommonCipher: self = .noCommonCipher
    case .noCommonProtocol: self = .noCommonProtocol
    case .certificateMissing: self = .certificateMissing
    case .certificateRefused: self = .certificateRefused
    case .refusedByClient: self = .refusedByClient
    case .malformed: self = .malformed
    }
  }
}
