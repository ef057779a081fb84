import Cluster
import Core
import Crypto
import Pipeline
import Synchronization
import Traffic

/// What all loops of a node share: counters, and the few facts that concern the node as a whole.
public final class NodeShared: Sendable {
  /// Everything the node counts.
  public let metrics: Metrics
  /// How many connections there are, and whose.
  let ledger: ConnectionLedger
  /// How fast addresses begin handshakes.
  let handshakes = AddressLedger()
  /// Connections of HTTP/2 that were ended for what was done on them.
  let abuses = AddressLedger()
  private let tickets = Mutex<TLSTicketKeys?>(nil)
  private let draining = Atomic<Bool>(false)
  private let ready = Atomic<Bool>(false)
  private let facts = Atomic<Bool>(true)
  /// For the admin port only; loops have their own.
  private let names = Mutex(ConsumerNames(ring: KeyRing(), tenants: []))
  /// For the admin port only; loops have their own references.
  private let endpoints = Mutex<[EndpointSet]>([])

  /// For the admin port only.
  private let shownCertificates = Mutex<[CertificateFacts]>([])
  /// For the admin port only.
  private let shownIssuers = Mutex<[IssuerFacts]>([])

  /// What a node hides with that has been given no secret: nobody else can open it, nor this node once it was stopped.
  private let ownSecret = SecureRandom.bytes(32)
  /// Revocations that policies want and the store has not got yet.
  private let waitingOrders = Mutex<[RevocationOrder]>([])
  private let clusterFacts = Mutex<ClusterFacts?>(nil)
  /// For the control loop only; loops have their own.
  private let ownSections = Mutex<NodeSections?>(nil)

  /// The shared part of a node that may hold so many connections, and so many of one address.
  public init(metrics: Metrics, limits: NodeLimits) {
    self.metrics = metrics
    ledger = ConnectionLedger(perNode: limits.connectionsPerNode, perAddress: limits.connectionsPerAddress)
  }

  /// What the node's policies hide and sign with under `blueprint`.
  func secrets(_ blueprint: Blueprint) -> NodeSecrets {
    let (secret, former) = (blueprint.cluster.secret, blueprint.cluster.formerSecret)
    return secret.isEmpty
      ? NodeSecrets(secret: ownSecret) : NodeSecrets(secret: secret, former: former.isEmpty ? nil : former)
  }

  /// Keeps what a policy wants revoked until the store can be asked; false where too much waits.
  func keep(_ order: RevocationOrder) -> Bool {
    waitingOrders.withLock { orders in
      guard orders.count < Self.orderLimit else { return false }
      orders.append(order)
      return true
    }
  }

  /// Whether a revocation waits for the store.
  var hasOrders: Bool { waitingOrders.withLock { !$0.isEmpty } }

  /// What waits for the store.
  func takeOrders() -> [RevocationOrder] {
    waitingOrders.withLock { orders in
      defer { orders = [] }
      return orders
    }
  }

  /// The most revocations that wait for the store.
  private static let orderLimit = 4_096

  /// What session tickets are sealed with; nil for no resumption.
  var ticketKeys: TLSTicketKeys? {
    get { tickets.withLock { $0 } }
    set { tickets.withLock { $0 = newValue } }
  }

  /// Whether the node has been told to stop.
  public var isDraining: Bool { draining.load(ordering: .relaxed) }

  /// From now on every response says that its connection closes.
  public func beginDraining() { draining.store(true, ordering: .relaxed) }

  /// Whether every port is open.
  var isReady: Bool { ready.load(ordering: .relaxed) }

  /// Whether the node takes requests, and knows what it must not admit.
  var takesRequests: Bool { isReady && !isDraining && hasFacts }

  /// Every port is open.
  func becomeReady() { ready.store(true, ordering: .relaxed) }

  /// What is known of the cluster; nil where the node has none.
  var cluster: ClusterFacts? {
    get { clusterFacts.withLock { $0 } }
    set { clusterFacts.withLock { $0 = newValue } }
  }

  /// Whether the node knows what is revoked and which keys there are, or has waited for it long enough.
  var hasFacts: Bool {
    get { facts.load(ordering: .relaxed) }
    set { facts.store(newValue, ordering: .relaxed) }
  }

  /// The consumers and tenants of the configuration. From any thread.
  public var consumerNames: ConsumerNames { names.withLock { $0 } }

  /// Sets the consumers and tenants of the configuration.
  func setConsumers(_ ring: KeyRing, tenants: [TenantSpec]) {
    let groups = Dictionary(tenants.map { ($0.id, $0.groups) }) { first, _ in first }
    names.withLock { $0 = ConsumerNames(ring: ring, tenants: tenants.map(\.id), groups: groups) }
  }

  /// The endpoints of all upstreams.
  var upstreams: [EndpointSet] { endpoints.withLock { $0 } }

  /// Sets the endpoints of all upstreams.
  func setUpstreams(_ sets: [EndpointSet]) { endpoints.withLock { $0 = sets } }

  /// How the certificates stand that listeners show.
  var certificates: [CertificateFacts] {
    get { shownCertificates.withLock { $0 } }
    set { shownCertificates.withLock { $0 = newValue } }
  }

  /// How the issuers stand whose keys are fetched.
  var issuers: [IssuerFacts] {
    get { shownIssuers.withLock { $0 } }
    set { shownIssuers.withLock { $0 = newValue } }
  }

  /// The node's own sections that hold; nil before there are any.
  var own: NodeSections? {
    get { ownSections.withLock { $0 } }
    set { ownSections.withLock { $0 = newValue } }
  }

  /// Changes how many connections there may be.
  func setLimits(_ limits: NodeLimits) {
    ledger.setLimits(perNode: limits.connectionsPerNode, perAddress: limits.connectionsPerAddress)
  }
}

/// Counts connections, of the node and of each address.
///
/// The limits are the node's, not a loop's, so the count is shared; it is touched when a connection is opened or closed,
/// never by a request. That is why a lock is acceptable here: the alternative, a share of the limit for each loop, would
/// refuse addresses that the kernel happened to send to one loop.
final class ConnectionLedger: Sendable {
  enum Entry: Equatable { case admitted, nodeIsFull, addressIsFull }

  private struct State {
    var total = 0
    var byAddress: [IPAddress: Int32] = [:]
  }

  private let perNode: Atomic<Int>
  private let perAddress: Atomic<Int>
  private let state = Mutex(State())

  init(perNode: Int, perAddress: Int) {
    self.perNode = Atomic(perNode)
    self.perAddress = Atomic(perAddress)
  }

  /// Changes the limits; connections beyond them stay.
  func setLimits(perNode: Int, perAddress: Int) {
    self.perNode.store(perNode, ordering: .relaxed)
    self.perAddress.store(perAddress, ordering: .relaxed)
  }

  /// Counts a connection if it may be.
  func enter(_ address: IPAddress, countsAddress: Bool) -> Entry {
    let (perNode, perAddress) = (perNode.load(ordering: .relaxed), perAddress.load(ordering: .relaxed))
    return state.withLock { state in
      guard state.total < perNode else { return .nodeIsFull }
      if countsAddress {
        let count = state.byAddress[address, default: 0]
        guard Int(count) < perAddress else { return .addressIsFull }
        state.byAddress[address] = count + 1
      }
      state.total += 1
      return .admitted
    }
  }

  /// Counts an address that became known only after its connection was counted (PROXY protocol).
  func enterAddress(_ address: IPAddress) -> Bool {
    let perAddress = perAddress.load(ordering: .relaxed)
    return state.withLock { state in
      let count = state.byAddress[address, default: 0]
      guard Int(count) < perAddress else { return false }
      state.byAddress[address] = count + 1
      return true
    }
  }

  /// Takes a connection off the count.
  func leave(_ address: IPAddress, countsAddress: Bool) {
    state.withLock { state in
      state.total -= 1
      guard countsAddress, let count = state.byAddress[address] else { return }
      state.byAddress[address] = count > 1 ? count - 1 : nil
    }
  }

  /// Open connections.
  var total: Int { state.withLock { $0.total } }
}

/// Whom a configuration knows.
public struct ConsumerNames: Sendable {
  let ring: KeyRing
  let tenants: [String]
  /// The groups that tenants' own operators may use.
  var groups: [String: [String]] = [:]

  /// Whether there is a consumer of this name.
  public func hasConsumer(_ id: String) -> Bool { ring.hasConsumer(id) }

  /// Whether there is a tenant of this name.
  public func hasTenant(_ id: String) -> Bool { tenants.contains(id) }

  /// Whether there is a consumer of this name, and it is this tenant's.
  public func hasConsumer(_ id: String, ofTenant tenant: String) -> Bool {
    let index = ring.index(ofConsumer: id)
    return index >= 0 && ring.consumers[Int(index)].tenant == tenant
  }

  /// The consumers of a tenant. Linear in all consumers.
  public func consumers(ofTenant tenant: String) -> [String] {
    ring.consumers.filter { $0.tenant == tenant }.map(\.id)
  }

  /// Whether a tenant's own operator may put consumers in all these groups.
  public func allows(groups wanted: [String], forTenant tenant: String) -> Bool {
    let allowed = groups[tenant] ?? []
    return wanted.allSatisfy { allowed.contains($0) }
  }
}
