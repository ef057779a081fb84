import Core

/// One address of an upstream with its weight.
public struct Endpoint: Sendable {
  /// What is known of it; holds address and id.
  public let state: EndpointState
  /// Its share, ``EndpointSpec/weights``.
  public let weight: Int32
  /// The name it was looked up by, for Host and logs; nil if the file gives the address.
  public let name: String?
}

/// The endpoints of an upstream at one time: an immutable snapshot, swapped whole when names resolve anew.
public final class EndpointSet: Sendable {
  /// The endpoints, in the order of the file and, of one name, of their addresses.
  public let endpoints: ContiguousArray<Endpoint>
  /// What is known of the upstream.
  public let state: UpstreamState
  /// The ring for consistent hashing; nil unless the upstream balances so.
  let ring: HashRing?

  /// A snapshot. Building the ring costs about 256 hashes an endpoint and a sort.
  public init(_ endpoints: ContiguousArray<Endpoint>, state: UpstreamState, balance: Balance) {
    self.endpoints = endpoints
    self.state = state
    ring = balance == .consistentHash ? HashRing(endpoints) : nil
  }

  /// How many endpoints there are; 0 while the only name has not been resolved.
  public var count: Int { endpoints.count }
}

/// An upstream of a configuration: what the file says and where it is now. Immutable; shared by all loops.
public final class UpstreamPlan: Sendable {
  /// What the file says.
  public let spec: UpstreamSpec
  /// The endpoints known when the configuration was built; later ones reach the loops as a new ``EndpointSet``.
  public let endpoints: EndpointSet

  /// A plan.
  public init(spec: UpstreamSpec, endpoints: EndpointSet) {
    self.spec = spec
    self.endpoints = endpoints
  }

  /// What is known of the upstream.
  public var state: UpstreamState { endpoints.state }
}
