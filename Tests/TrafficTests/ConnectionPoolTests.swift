import Core
import Testing

@testable import Traffic

@Suite("ConnectionPool")
struct ConnectionPoolTests {
  private func endpoints(_ count: Int) -> [EndpointState] {
    plan(spec(.random, weights: Array(repeating: 1, count: count))).endpoints.endpoints.map(\.state)
  }

  private func pool(_ edit: (inout PoolSpec) -> Void) -> PoolSpec {
    var spec = PoolSpec()
    edit(&spec)
    return spec
  }

  @Test("Without idle connections there is nothing to take")
  func empty() {
    let pool = SharedPool()
    #expect(pool.takeIdle(endpoint: 0) == -1)
    #expect(pool.expired(now: .at(1e6)) == -1)
    #expect(pool.takeOldest(endpoint: 3) == -1)
    pool.closed(7)
    #expect(pool.totalCount == 0 && pool.nextExpiry == .never)
  }

  @Test("Beyond its bounds an endpoint gets no more connections and keeps no more idle ones")
  func bounds() {
    let spec = self.pool {
      $0.maxConnectionsPerEndpoint = 3
      $0.maxIdlePerEndpoint = 2
    }
    let endpoint = endpoints(1)[0]
    let pool = SharedPool()
    for connection: Int32 in 0..<3 {
      #expect(pool.canOpen(endpoint: endpoint.id, PoolLimits(spec)))
      pool.opened(connection, to: endpoint)
    }
    #expect(!pool.canOpen(endpoint: endpoint.id, PoolLimits(spec)))
    #expect(pool.release(0, PoolLimits(spec), now: .at(1)) == true)
    #expect(pool.release(1, PoolLimits(spec), now: .at(1)) == true)
    #expect(pool.release(2, PoolLimits(spec), now: .at(1)) == false)
    pool.closed(2)
    #expect(pool.canOpen(endpoint: endpoint.id, PoolLimits(spec)))
    #expect(pool.idle(endpoint: endpoint.id) == 2 && pool.total(endpoint: endpoint.id) == 2)
  }

  @Test("The connection used last is taken first, only for its own endpoint")
  func order() {
    let endpoints = endpoints(2)
    let pool = SharedPool()
    for connection: Int32 in 0..<3 {
      pool.opened(connection, to: endpoints[0])
      #expect(pool.release(connection, PoolLimits(PoolSpec()), now: .at(Double(connection))) == true)
    }
    #expect(pool.takeIdle(endpoint: endpoints[1].id) == -1)
    #expect(pool.takeIdle(endpoint: endpoints[0].id) == 2)
    #expect(!pool.isIdle(2))
    pool.closed(1)
    #expect(pool.takeIdle(endpoint: endpoints[0].id) == 0)
    #expect(pool.takeIdle(endpoint: endpoints[0].id) == -1)
  }

  @Test("Idle connections expire oldest first, each once, and not before their time")
  func expiry() {
    let endpoints = endpoints(2)
    let spec = self.pool { $0.idleTimeout = .seconds(10) }
    let pool = SharedPool()
    for connection: Int32 in 0..<4 {
      pool.opened(connection, to: endpoints[Int(connection) % 2])
      #expect(pool.release(connection, PoolLimits(spec), now: .at(Double(connection))) == true)
    }
    #expect(pool.nextExpiry == .at(10))
    #expect(pool.expired(now: .at(9.9)) == -1)
    #expect(pool.expired(now: .at(11)) == 0)
    #expect(pool.expired(now: .at(11)) == 1)
    #expect(pool.expired(now: .at(11)) == -1)
    #expect(pool.nextExpiry == .at(12))
    pool.closed(0)
    pool.closed(1)
    #expect(pool.idleCount == 2 && pool.totalCount == 2)
  }

  @Test("It holds an endpoint's state just as long as it has connections to it")
  func holdsState() {
    let pool = SharedPool()
    var state: EndpointState? = EndpointState(
      id: 3, address: address(1), upstream: UpstreamState(name: "u"), joinedAt: .at(0))
    if let state { pool.opened(5, to: state) }
    #expect(!isKnownUniquelyReferenced(&state))
    #expect(pool.endpoint(of: 5) === state)
    pool.closed(5)
    #expect(isKnownUniquelyReferenced(&state))
    #expect(pool.endpoint(of: 5) == nil)
  }

  @Test("It agrees with a model over random steps", arguments: UInt64(0)..<12)
  func model(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let endpoints = endpoints(3)
    let spec = self.pool {
      $0.maxIdlePerEndpoint = 4
      $0.idleTimeout = .seconds(5)
    }
    let pool = SharedPool()
    var idle: [[(connection: Int32, expiry: Double)]] = [[], [], []]
    var used: [(connection: Int32, endpoint: Int)] = []
    var free = Array(Int32(0)..<30)
    for step in 0..<3_000 {
      let now = Double(step) / 10
      let endpoint = Int.random(in: 0..<3, using: &generator)
      let id = endpoints[endpoint].id
      switch Int.random(in: 0..<5, using: &generator) {
      case 0:
        guard let connection = free.popLast() else { continue }
        pool.opened(connection, to: endpoints[endpoint])
        used.append((connection, endpoint))
      case 1, 2:
        guard let entry = used.indices.randomElement(using: &generator).map({ used.remove(at: $0) }) else { continue }
        let isKept = pool.release(entry.connection, PoolLimits(spec), now: .at(now))
        #expect(isKept == (idle[entry.endpoint].count < 4))
        if isKept {
          idle[entry.endpoint].append((entry.connection, now + 5))
        } else {
          pool.closed(entry.connection)
          free.append(entry.connection)
        }
      case 3:
        let expected = idle[endpoint].popLast()?.connection ?? -1
        #expect(pool.takeIdle(endpoint: id) == expected)
        if expected >= 0 { used.append((expected, endpoint)) }
      default:
        while true {
          let connection = pool.expired(now: .at(now))
          if connection < 0 { break }
          for place in idle.indices { idle[place].removeAll { $0.connection == connection && $0.expiry <= now + 1e-6 } }
          pool.closed(connection)
          free.append(connection)
        }
        #expect(idle.joined().allSatisfy { $0.expiry > now - 1e-6 })
      }
      #expect(pool.idleCount == idle.joined().count)
      #expect(pool.totalCount == 30 - free.count)
      #expect(pool.idle(endpoint: id) == idle[endpoint].count)
    }
  }
}

@Suite("PendingQueue")
struct PendingQueueTests {
  @Test("A line takes no more than its bound")
  func bound() {
    var queue = PendingQueue()
    #expect(queue.append(0, line: 0, limit: 0) == false)
    #expect(queue.append(1, line: 0, limit: 1) == true)
    #expect(queue.append(2, line: 0, limit: 1) == false)
    #expect(queue.append(2, line: 1, limit: 1) == true)
    #expect(queue.count(line: 0) == 1 && queue.count(line: 9) == 0)
  }

  @Test("First come, first served, and who leaves is skipped")
  func order() {
    var queue = PendingQueue()
    for exchange: Int32 in [4, 2, 9, 7] { #expect(queue.append(exchange, line: 3, limit: 10) == true) }
    queue.remove(2)
    queue.remove(7)
    queue.remove(7)
    #expect(!queue.contains(2) && queue.contains(9))
    #expect(queue.takeFirst(line: 3) == 4)
    #expect(queue.takeFirst(line: 3) == 9)
    #expect(queue.takeFirst(line: 3) == -1)
    #expect(queue.append(4, line: 3, limit: 10) == true)
    #expect(queue.takeFirst(line: 3) == 4)
  }
}

/// A pool that expectations can refer to: their macro copies what a method is called on, and a pool cannot be copied.
private final class SharedPool {
  private var pool = ConnectionPool()

  var idleCount: Int { (0..<pool.endpointBound).reduce(0) { $0 + pool.idle(endpoint: $1) } }
  var totalCount: Int { (0..<pool.endpointBound).reduce(0) { $0 + pool.total(endpoint: $1) } }
  var nextExpiry: Instant { pool.nextExpiry }

  func takeIdle(endpoint: Int32) -> Int32 { pool.takeIdle(endpoint: endpoint) }
  func canOpen(endpoint: Int32, _ limits: PoolLimits) -> Bool { pool.canOpen(endpoint: endpoint, limits) }
  func opened(_ connection: Int32, to endpoint: EndpointState) { pool.opened(connection, to: endpoint) }
  func release(_ connection: Int32, _ limits: PoolLimits, now: Instant) -> Bool {
    pool.release(connection, limits, now: now)
  }
  func closed(_ connection: Int32) { pool.closed(connection) }
  func expired(now: Instant) -> Int32 { pool.expired(now: now) }
  func takeOldest(endpoint: Int32) -> Int32 { pool.takeOldest(endpoint: endpoint) }
  func idle(endpoint: Int32) -> Int { pool.idle(endpoint: endpoint) }
  func total(endpoint: Int32) -> Int { pool.total(endpoint: endpoint) }
  func endpoint(of connection: Int32) -> EndpointState? { pool.endpoint(of: connection) }
  func isIdle(_ connection: Int32) -> Bool { pool.isIdle(connection) }
}
