import Core

/// The upstream connections of one loop: which are idle, and how many there are to each endpoint.
///
/// Pure bookkeeping over the loop's connection numbers; the loop opens and closes. Idle connections of an endpoint form
/// a list inside a table of links, most recently used first: the others grow old and expire. All verbs but
/// ``expired(now:)`` are constant time, and only a number larger than any before allocates.
///
/// The pool holds the endpoint's state as long as it has connections to it, so that an endpoint's id is not given to
/// another while it stands for connections here (see ``UpstreamDirectory``).
public struct ConnectionPool: ~Copyable {
  // Not private: a type that a noncopyable generic is made of must be visible to whoever destroys it (a compiler of 6.3 ends
  // with an error of its own otherwise).
  @usableFromInline struct Link: BitwiseCopyable {
    @usableFromInline var newer: Int32 = -1
    @usableFromInline var older: Int32 = -1
    @usableFromInline var endpoint: Int32 = -1
    @usableFromInline var isIdle = false
    @usableFromInline var expiresAt: Int64 = 0

    @usableFromInline init(endpoint: Int32 = -1) { self.endpoint = endpoint }
  }

  @usableFromInline struct Group {
    @usableFromInline var newest: Int32 = -1
    @usableFromInline var oldest: Int32 = -1
    @usableFromInline var idle: Int32 = 0
    @usableFromInline var total: Int32 = 0
    @usableFromInline var state: EndpointState?

    @usableFromInline init() {}
  }

  @usableFromInline var links = OwnedArray<Link>()
  @usableFromInline var groups = OwnedArray<Group>()
  @usableFromInline var earliestExpiry = Instant.never

  /// No idle connection expires before this moment.
  public var nextExpiry: Instant { earliestExpiry }

  /// A pool without connections.
  public init() {}

  /// The idle connection to the endpoint that was used last, now in use; −1 if there is none.
  @inlinable
  @inline(__always)
  public mutating func takeIdle(endpoint: Int32) -> Int32 {
    guard Int(endpoint) < groups.count else { return -1 }
    let connection = groups[Int(endpoint)].newest
    guard connection >= 0 else { return -1 }
    // As `unlink`, for one that nothing is newer than.
    let older = links[Int(connection)].older
    groups[Int(endpoint)].newest = older
    if older >= 0 { links[Int(older)].newer = -1 } else { groups[Int(endpoint)].oldest = -1 }
    groups[Int(endpoint)].idle &-= 1
    links[Int(connection)].older = -1
    links[Int(connection)].isIdle = false
    return connection
  }

  /// Whether the loop may open one more connection to the endpoint.
  public func canOpen(endpoint: Int32, _ limits: PoolLimits) -> Bool {
    total(endpoint: endpoint) < limits.maxConnectionsPerEndpoint
  }

  /// A connection to the endpoint is being opened, in use from the start.
  public mutating func opened(_ connection: Int32, to endpoint: EndpointState) {
    let id = Int(endpoint.id)
    while links.count <= Int(connection) { links.append(Link()) }
    while groups.count <= id { groups.append(Group()) }
    precondition(links[Int(connection)].endpoint < 0, "the connection is already known")
    links[Int(connection)] = Link(endpoint: endpoint.id)
    if groups[id].total == 0 { groups[id].state = endpoint }
    groups[id].total &+= 1
  }

  /// A request is done and the connection could serve another. Returns whether it is kept; if not, it is still in use
  /// and the owner should close it.
  @inlinable
  @inline(__always)
  public mutating func release(_ connection: Int32, _ limits: PoolLimits, now: Instant) -> Bool {
    let endpoint = Int(links[Int(connection)].endpoint)
    precondition(endpoint >= 0 && !links[Int(connection)].isIdle, "only a connection in use can be released")
    guard groups[endpoint].idle < limits.maxIdlePerEndpoint else { return false }
    let expiry = now.advanced(byNanoseconds: limits.idleNanoseconds)
    links[Int(connection)].expiresAt = expiry.nanoseconds
    links[Int(connection)].isIdle = true
    links[Int(connection)].older = groups[endpoint].newest
    links[Int(connection)].newer = -1
    if groups[endpoint].newest >= 0 {
      links[Int(groups[endpoint].newest)].newer = connection
    } else {
      groups[endpoint].oldest = connection
    }
    groups[endpoint].newest = connection
    groups[endpoint].idle &+= 1
    if expiry < earliestExpiry { earliestExpiry = expiry }
    return true
  }

  /// The connection is gone, idle or not. A number that is not in the pool is ignored.
  public mutating func closed(_ connection: Int32) {
    guard connection >= 0, Int(connection) < links.count, links[Int(connection)].endpoint >= 0 else { return }
    if links[Int(connection)].isIdle { unlink(connection) }
    let endpoint = Int(links[Int(connection)].endpoint)
    links[Int(connection)].endpoint = -1
    groups[endpoint].total &-= 1
    if groups[endpoint].total == 0 { groups[endpoint].state = nil }
  }

  /// An idle connection whose time has come, now in use and to be closed; −1 if there is none. Costs a look at each
  /// endpoint once ``nextExpiry`` has passed, nothing before.
  public mutating func expired(now: Instant) -> Int32 {
    guard nextExpiry <= now else { return -1 }
    var next = Instant.never
    for index in groups.indices where groups[index].oldest >= 0 {
      // Releases are in order of time and an endpoint's time limit seldom changes: the oldest expires first.
      let oldest = groups[index].oldest
      let expiry = Instant(nanoseconds: links[Int(oldest)].expiresAt)
      if expiry <= now {
        unlink(oldest)
        return oldest
      }
      next = min(next, expiry)
    }
    earliestExpiry = next
    return -1
  }

  /// Takes an idle connection to an endpoint out, oldest first, to be closed because the endpoint is gone or the loop
  /// is running out of descriptors; −1 if there is none.
  public mutating func takeOldest(endpoint: Int32) -> Int32 {
    guard endpoint >= 0, Int(endpoint) < groups.count else { return -1 }
    let connection = groups[Int(endpoint)].oldest
    if connection >= 0 { unlink(connection) }
    return connection
  }

  /// Idle connections to the endpoint.
  public func idle(endpoint: Int32) -> Int { Int(endpoint) < groups.count ? Int(groups[Int(endpoint)].idle) : 0 }

  /// Connections to the endpoint, idle or not.
  public func total(endpoint: Int32) -> Int { Int(endpoint) < groups.count ? Int(groups[Int(endpoint)].total) : 0 }

  /// The endpoint that a connection goes to, nil for a number that is not in the pool.
  public func endpoint(of connection: Int32) -> EndpointState? {
    guard connection >= 0, Int(connection) < links.count, links[Int(connection)].endpoint >= 0 else { return nil }
    return groups[Int(links[Int(connection)].endpoint)].state
  }

  /// Whether a connection waits for a request.
  public func isIdle(_ connection: Int32) -> Bool {
    connection >= 0 && Int(connection) < links.count && links[Int(connection)].isIdle
  }

  /// Endpoint ids below this may have connections: the bound for a sweep with ``takeOldest(endpoint:)``.
  public var endpointBound: Int32 { Int32(groups.count) }

  @inlinable
  mutating func unlink(_ connection: Int32) {
    let link = links[Int(connection)]
    let endpoint = Int(link.endpoint)
    if link.newer >= 0 { links[Int(link.newer)].older = link.older } else { groups[endpoint].newest = link.older }
    if link.older >= 0 { links[Int(link.older)].newer = link.newer } else { groups[endpoint].oldest = link.newer }
    links[Int(connection)].newer = -1
    links[Int(connection)].older = -1
    links[Int(connection)].isIdle = false
    groups[endpoint].idle &-= 1
  }
}

/// A ``PoolSpec`` as plain numbers, for use at every request.
public struct PoolLimits: BitwiseCopyable, Sendable {
  let maxConnectionsPerEndpoint: Int
  @usableFromInline let maxIdlePerEndpoint: Int32
  @usableFromInline let idleNanoseconds: Int64
  /// Requests after which a connection is closed.
  public let maxRequestsPerConnection: UInt32

  /// The numbers of `spec`.
  public init(_ spec: PoolSpec) {
    maxConnectionsPerEndpoint = spec.maxConnectionsPerEndpoint
    maxIdlePerEndpoint = Int32(clamping: spec.maxIdlePerEndpoint)
    idleNanoseconds = spec.idleTimeout.wholeNanoseconds
    let most = spec.maxRequestsPerConnection
    maxRequestsPerConnection = most == 0 ? .max : UInt32(clamping: most)
  }
}
