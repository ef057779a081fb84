// Connections that a router passes on as they are, for TLS that ends on the nodes: a node is chosen, told whose connection it
// is, and from then on bytes go both ways.

import Core
import HTTP
import Pipeline
import Traffic

extension RequestFlow {
  /// Chooses a node for a connection. What its client has sent already waits in `exchange`, if there is one.
  mutating func passThrough(_ index: Int32, _ given: Int32 = -1) {
    guard let exchange = given >= 0 ? given : exchanges.take() else {
      metrics.countShedConnection(.pressure)
      return close(client: index, reset: true)
    }
    exchanges[exchange].client = index
    clients[index].exchange = exchange
    dequeue(index)
    clients[index].state = .exchange
    exchanges[exchange].exchange.startedAt = loop.now
    metrics.add(to: .requestsStarted)
    nameExchange(exchange, index)
    exchanges[exchange].upstream = Int32(configuration.upstreams.count - 1)
    let upstream = configuration.upstreams[Int(exchanges[exchange].upstream)]
    exchanges[exchange].group = Borrowed(upstream)
    exchanges[exchange].timeouts = upstream.timeouts
    exchanges[exchange].hash = StableHash.of(high: clients[index].peer.high, low: clients[index].peer.low)
    appendProxyHeader(exchange, index)
    setDeadline(client: index, after: limits.settings.tunnelTimeout)
    guard upstream.beginRequest() else { return refuse(exchange, ProblemCatalogue.upstreamBusy) }
    exchanges[exchange].holdsRequest = true
    guard pickEndpoint(exchange, upstream) else { return refuse(exchange, ProblemCatalogue.noUpstream) }
    exchanges[exchange].stage = .pending
    connect(exchange, upstream)
  }

  private mutating func appendProxyHeader(_ exchange: Int32, _ index: Int32) {
    var own: (IPAddress, UInt16) = (IPAddress(v4: 0), 0)
    if case .ip(let address, let port)? = world.localAddress(of: clients[index].socket) { own = (address, port) }
    ProxyHeader.append(
      source: (clients[index].peer, clients[index].peerPort), destination: own, to: exchanges[exchange].toServer)
  }

  /// Whether an exchange is a connection that is passed on: it has an upstream without a route, as only copies have too.
  func isPassedThrough(_ exchange: Int32) -> Bool {
    exchanges[exchange].route == nil && exchanges[exchange].group != nil && !exchanges[exchange].isMirror
  }

  /// The connection to the node stands.
  mutating func beginPassage(_ exchange: Int32) {
    exchanges[exchange].attempts &+= 1
    exchanges[exchange].upstreamStartedAt = loop.now
    exchanges[exchange].attemptStartedAt = loop.now
    exchanges[exchange].endpoint?.with {
      $0.requestStarted()
      $0.recordSuccess()
    }
    exchanges[exchange].status = 200
    openTunnel(exchange, upstreamBytes: exchanges[exchange].serverInput)
  }
}
