import Cluster
import Core
import Net
import Pipeline
import Traffic

extension ControlFlow {
  /// Does what a loop wants of a shared record, and tells it what became of that. A node with a store but no cluster in it
  /// shares nothing: what it answered would be another node's to know.
  mutating func carryOut(_ order: RecordOrder, of loop: Int) {
    let (node, number) = (node, order.number)
    if let agent {
      agent.records.carryOut(order.request) { node.tell(loop, .record($0, order: number)) }
    } else if case .redis = blueprint.store {
      node.tell(loop, .record(.unavailable, order: number))
    } else {
      node.tell(loop, .record(ownRecords.carryOut(order.request, now: world.now), order: number))
    }
  }

  /// Where the nodes are reached: a unix socket or a loopback address only by a router that sees the same ones.
  static func endpoints(of nodes: [MemberRecord], isProxied: Bool) -> [EndpointSpec] {
    let here = ProcessLimits.placement
    return nodes.compactMap { node in
      let isHere = !here.isEmpty && node.host == here
      let addresses = (isProxied ? node.reachProxied : node.reach).compactMap { SocketAddress($0) }.filter { address in
        switch address {
        case .unix: isHere
        case .ip(let ip, _): isHere || !ip.isLoopback
        }
      }
      let isUnix = addresses.first { if case .unix = $0 { true } else { false } }
      return (isUnix ?? addresses.first).map { EndpointSpec(address: .socket($0)) }
    }
  }
}
