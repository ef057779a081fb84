import Core

/// Keeps what is known of upstreams and endpoints from one configuration to the next, and numbers the endpoints.
///
/// It belongs to the control thread: every call comes from there. An endpoint is the same one as long as upstream name
/// and address are the same; weights and limits may change under it. Ids are small integers that loops index tables
/// with. The id of an endpoint that is gone is given to a new one only when nothing else holds its ``EndpointState``
/// any more: no snapshot on any loop, and no ``ConnectionPool`` that still has connections to it.
public final class UpstreamDirectory {
  private struct Key: Hashable {
    var upstream: String
    var address: SocketAddress
  }

  private var upstreams: [String: UpstreamState] = [:]
  private var endpoints: [Key: EndpointState] = [:]
  /// Gone from the configuration, but perhaps still held by a loop.
  private var retired: [EndpointState] = []
  private var freeIds: [Int32] = []
  private var nextId: Int32 = 0

  /// A directory that knows nothing.
  public init() {}

  /// One more than the largest id in use: the size that tables by id need.
  public var idBound: Int32 { nextId }

  /// The endpoints of `spec` at this moment. `addresses` has what its names stand for, by the endpoint's index in the
  /// spec; a name without an entry has no endpoints yet. Endpoints that were not known join at `now`, those of an
  /// upstream that was not known were there from the start. An address that occurs twice counts once, with the weights
  /// added.
  public func endpoints(of spec: UpstreamSpec, addresses: [Int: [SocketAddress]] = [:], now: Instant) -> EndpointSet {
    let isNew = upstreams[spec.name] == nil
    let upstream = upstreams[spec.name] ?? UpstreamState(name: spec.name)
    upstreams[spec.name] = upstream
    var places: [SocketAddress: Int] = [:]
    var list: ContiguousArray<Endpoint> = []
    func add(_ address: SocketAddress, _ weight: Int, name: String?) {
      if let place = places[address] {
        let sum = min(EndpointSpec.weights.upperBound, Int(list[place].weight) + weight)
        list[place] = Endpoint(state: list[place].state, weight: Int32(sum), name: list[place].name)
        return
      }
      places[address] = list.count
      let joinedAt = isNew ? Instant(nanoseconds: 0) : now
      let state = state(address, of: upstream, joinedAt: joinedAt)
      list.append(Endpoint(state: state, weight: Int32(max(1, weight)), name: name))
    }
    for (index, endpoint) in spec.endpoints.enumerated() {
      switch endpoint.address {
      case .socket(let address): add(address, endpoint.weight, name: nil)
      case .name(let name, _):
        for address in addresses[index] ?? [] { add(address, endpoint.weight, name: name) }
      }
    }
    return EndpointSet(list, state: upstream, balance: spec.balance)
  }

  /// Forgets what none of `current` holds: call it after a reload or a new look-up, with the endpoints of all upstreams.
  public func retain(only current: [EndpointSet]) {
    var kept = Set<ObjectIdentifier>()
    for set in current {
      kept.insert(ObjectIdentifier(set.state))
      for endpoint in set.endpoints { kept.insert(ObjectIdentifier(endpoint.state)) }
    }
    for (key, state) in endpoints where !kept.contains(ObjectIdentifier(state)) {
      endpoints[key] = nil
      retired.append(state)
    }
    upstreams = upstreams.filter { kept.contains(ObjectIdentifier($0.value)) }
    reclaim()
  }

  /// Takes back the ids of endpoints that nothing holds any more. Done by itself before a new id is drawn.
  public func reclaim() {
    var held: [EndpointState] = []
    while var state = retired.popLast() {
      // With one reference left, which is ours, no other thread can make a second one.
      if isKnownUniquelyReferenced(&state) {
        freeIds.append(state.id)
      } else {
        held.append(state)
      }
    }
    retired = held
  }

  private func state(_ address: SocketAddress, of upstream: UpstreamState, joinedAt: Instant) -> EndpointState {
    let key = Key(upstream: upstream.name, address: address)
    if let state = endpoints[key] { return state }
    // An endpoint that comes back while a loop still holds it must not exist twice.
    if let index = retired.firstIndex(where: { $0.address == address && $0.upstream === upstream }) {
      let state = retired.remove(at: index)
      endpoints[key] = state
      return state
    }
    reclaim()
    let id: Int32
    if let free = freeIds.popLast() {
      id = free
    } else {
      id = nextId
      nextId += 1
    }
    let state = EndpointState(id: id, address: address, upstream: upstream, joinedAt: joinedAt)
    endpoints[key] = state
    return state
  }
}
