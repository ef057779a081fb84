import Core
import Net

@testable import Cluster

/// Owns a client on a loop, real or simulated, and writes down what it says.
final class ClientOwner: EventHandler {
  let client: RedisClient
  let world: any World
  private(set) var said: [Said] = []
  var isDone: ((ClientOwner) -> Bool)?
  var limit = Instant.never
  private(set) var isRunning = true

  init(_ world: any World, _ store: RedisStore, _ library: RedisLibrary? = nil) throws {
    self.world = world
    client = try RedisClient(store, RedisLinkSettings(clientName: "test", library: library), world: world) {
      UInt64($0) << 32 | UInt64($1)
    }
    client.start()
  }

  var outcomes: [Said] { said.filter { $0.settledTag != nil } }
  var ups: Int { said.count { if case .up = $0 { true } else { false } } }

  /// Writes to the slot of `key`.
  @discardableResult
  func increment(_ tag: UInt64, _ key: String, within: Int64 = 1_000_000_000) -> RedisAdmission {
    client.send(slot: HashSlot.of(key), tag: tag, within: within) { RedisCommand.append(["INCR", key], to: $0) }
  }

  func ready(token: UInt64, _ readiness: Readiness) { _ = client.ready(token: token, readiness) }
  func receive(_ message: Never) {}
  func goOn() { isRunning = true }

  func endTurn() -> Instant {
    while let event = client.next() { said.append(Said(event)) }
    if isDone?(self) == true || limit <= world.now { isRunning = false }
    return min(client.flush(), limit)
  }
}

/// A client on a real loop, which runs on the calling thread while somebody waits for something.
final class RealClient {
  let loop: EventLoop
  var owner: ClientOwner

  init(_ store: RedisStore) throws {
    loop = try EventLoop()
    owner = try ClientOwner(loop, store)
  }

  deinit { owner.client.stop() }

  @discardableResult
  func run(within seconds: Int64 = 10, until condition: @escaping (ClientOwner) -> Bool) throws -> Bool {
    var holds = false
    owner.isDone = { owner in
      holds = condition(owner)
      return holds
    }
    owner.limit = Clock.monotonic().advanced(byNanoseconds: seconds * 1_000_000_000)
    owner.goOn()
    try loop.run(&owner)
    return holds
  }
}
