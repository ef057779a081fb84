// WebSocket connections (RFC 6455) within their tunnels: frames are followed, so that messages that are too long are refused,
// and so that the gateway can end a connection in good order, with a Close frame to both sides.

import Core
import HTTP
import Pipeline

/// What a tunnel of WebSocket frames needs beyond its bytes.
final class WebSocketTunnel {
  var client: WebSocketReader
  var server: WebSocketReader
  /// The gateway has ended it, and only what waits is still sent.
  var isClosing = false

  init(_ response: ResponseHead, messageLimit: Int64) {
    let allowsExtensions = response.firstIndex(named: RawSpan(Self.extensions)) != nil
    client = WebSocketReader(from: .client, messageLimit: messageLimit, allowsExtensions: allowsExtensions)
    server = WebSocketReader(from: .server, messageLimit: messageLimit, allowsExtensions: allowsExtensions)
  }

  private static let extensions = Array("sec-websocket-extensions".utf8)
}

extension RequestFlow {
  /// Follows what one side has sent, which lies in `buffer` from `offset` on. False where the connection had to be ended.
  mutating func readFrames(
    _ exchange: Int32, _ sender: WebSocketReader.Sender, _ buffer: ByteBuffer, from offset: Int
  ) -> Bool {
    guard let tunnel = exchanges[exchange].webSocket, !tunnel.isClosing else { return true }
    let fault =
      switch sender {
      case .client: tunnel.client.read(buffer, from: offset)
      case .server: tunnel.server.read(buffer, from: offset)
      }
    switch fault {
    case nil: return true
    case .malformed: endWebSocket(exchange, .protocolError, .malformed)
    case .tooBig: endWebSocket(exchange, .messageTooBig, .messageTooBig)
    }
    return false
  }

  /// Ends a WebSocket connection: both sides get a Close frame where one may stand, behind what waits for them.
  mutating func endWebSocket(_ exchange: Int32, _ code: WebSocketClose, _ reason: ShedReason) {
    guard let tunnel = exchanges[exchange].webSocket, !tunnel.isClosing else { return }
    tunnel.isClosing = true
    metrics.countShedConnection(reason)
    let (toClient, toServer) = (exchanges[exchange].toClient, exchanges[exchange].toServer)
    toClient.truncate(to: toClient.count - tunnel.server.heldCount)
    toServer.truncate(to: toServer.count - tunnel.client.heldCount)
    tunnel.server.dropHeld()
    tunnel.client.dropHeld()
    if tunnel.server.takesFrames { code.write(to: toClient, mask: nil) }
    if tunnel.client.takesFrames {
      WebSocketClose.goingAway.write(to: toServer, mask: UInt32(truncatingIfNeeded: world.random()))
    }
    exchanges[exchange].clientHasEnded = true
    exchanges[exchange].serverHasEnded = true
    setDeadline(client: exchanges[exchange].client, after: limits.settings.lingerTimeout)
    flushTunnel(toServerOf: exchange)
    guard exchanges[exchange].isTunnel else { return }
    flushTunnel(toClientOf: exchange)
  }

  /// Nothing has passed for as long as it may, or what was to be sent last was not taken.
  mutating func tunnelTimedOut(_ exchange: Int32) {
    guard let tunnel = exchanges[exchange].webSocket, !tunnel.isClosing else {
      return closeTunnel(exchange, reset: false)
    }
    endWebSocket(exchange, .goingAway, .idle)
  }

  /// Other facts are known: ends the tunnels of callers that may not go on.
  mutating func endRevokedTunnels() {
    guard openTunnels > 0 else { return }
    for index in clients.touchedIndexes where clients[index].state == .tunnel {
      let exchange = clients[index].exchange
      guard let configuration = exchanges[exchange].configuration else { continue }
      let services = configuration.part { $0.services }
      guard services.with({ !$0.mayGoOn(&exchanges[exchange].exchange) }) else { continue }
      endTunnel(exchange, .revoked)
    }
  }

  /// The caller of a tunnel may not go on.
  mutating func endTunnel(_ exchange: Int32, _ reason: ShedReason) {
    // What is to be sent last has a time limit of its own.
    exchanges[exchange].totalDeadline = .never
    if exchanges[exchange].webSocket != nil {
      endWebSocket(exchange, .policyViolation, reason)
    } else {
      metrics.countShedConnection(reason)
      closeTunnel(exchange, reset: false)
    }
  }

  /// The node drains: tells some WebSocket connections to go.
  mutating func endSomeTunnels() {
    var count = drain.share(of: openTunnels, now: world.now)
    for index in clients.touchedIndexes where count > 0 && clients[index].state == .tunnel {
      let exchange = clients[index].exchange
      guard let tunnel = exchanges[exchange].webSocket, !tunnel.isClosing else { continue }
      endWebSocket(exchange, .goingAway, .drainEnded)
      count -= 1
    }
  }
}

extension RequestHead {
  /// Whether the connection is to go on as WebSocket, which is all that HTTP/2 can say on (RFC 8441).
  var upgradesToWebSocket: Bool { upgrade.map { bytes($0).isWebSocket } ?? false }
}

extension ResponseHead {
  /// Whether the connection goes on as WebSocket.
  var upgradesToWebSocket: Bool { upgrade.map { bytes($0).isWebSocket } ?? false }
}

extension RawSpan {
  fileprivate var isWebSocket: Bool {
    guard byteCount == 9 else { return false }
    for (offset, letter) in "websocket".utf8.enumerated() where self[byte: offset] | 0x20 != letter { return false }
    return true
  }
}
