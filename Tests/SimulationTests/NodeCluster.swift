import Core
import ModelRedis
import Simulation

/// One life of a node: a process that begins and ends.
final class NodeLife {
  let loops: [SimulatedLoop]
  let host: IPAddress
  let began: Instant
  /// Asks it to go, in good order.
  let leave: () -> Void
  var ended = Instant.never
  /// When it could not be relied on: paused, or cut from the store.
  var troubles: [(from: Instant, to: Instant)] = []
  var pausedUntil = Instant(nanoseconds: 0)

  init(_ loops: [SimulatedLoop], host: IPAddress, began: Instant, leave: @escaping () -> Void) {
    (self.loops, self.host, self.began, self.leave) = (loops, host, began, leave)
  }

  var isAlive: Bool { ended == .never }
}

/// Nodes around one Redis, all in one thread, and what goes wrong with them. What a node is, a subclass says.
class NodeCluster {
  static let store = IPAddress(v4: 0x0a00_0009)
  static let address = SocketAddress.ip(store, port: 6379)

  let world: SimulatedWorld
  let redis: ModelRedis
  var random: SeededGenerator
  /// Lives by their numbers; and for each place of a node the one that runs there.
  private(set) var lives: [NodeLife] = []
  private(set) var current: [Int] = []
  /// What has been seen to be wrong.
  var problems: [String] = []
  /// What has been done to the cluster, for people.
  private(set) var events: [String] = []
  /// When a store was away, and came back without all that it had said.
  var failures: [(from: Instant, to: Instant)] = []
  /// When a primary was cut off with a node, when it took its last writes, and when it was gone.
  var splits: [ClusterSplit] = []
  /// When Redis's clock was set, and by how many microseconds.
  var clockSteps: [(at: Instant, by: Int64)] = []
  /// When the store or the way to it was out of order for some or all, for whatever reason.
  var storeTroubles: [(from: Instant, to: Instant)] = []
  /// How the network behaves while nothing ails it.
  let conditions: Conditions
  private let drift: Bool

  init(seed: UInt64, nodes: Int, _ conditions: Conditions, lag: Duration) throws {
    world = SimulatedWorld(seed: seed, conditions)
    random = SeededGenerator(seed: seed ^ 0x5eed)
    drift = random.chance(0.5)
    self.conditions = conditions
    redis = ModelRedis(world, at: Self.address, seed: seed, lag: lag)
    if random.chance(0.25) { redis.beOld() }
    for place in 0..<nodes {
      current.append(0)
      try start(place)
    }
  }

  /// Makes the loops of a new life; nothing runs before the world does.
  func makeLife(_ number: Int, place: Int, host: IPAddress, _ clocks: MachineClocks) throws -> NodeLife {
    preconditionFailure("a cluster has nodes of a kind")
  }

  /// Drops from the store's log what it keeps in another form, if this kind of cluster has one.
  func trimLog() {}

  func note(_ event: String) { events.append("\(world.now.nanoseconds / 1_000_000) ms: \(event)") }

  /// Starts a node in a place: a new one, whoever was there before.
  func start(_ place: Int) throws {
    var clocks = MachineClocks()
    if drift { clocks.driftPartsPerMillion = random.number(in: -400...400) }
    let number = lives.count
    lives.append(try makeLife(number, place: place, host: IPAddress(v4: 0x0a00_0100 + UInt32(place)), clocks))
    current[place] = number
  }

  func life(at place: Int) -> NodeLife { lives[current[place]] }

  // MARK: Faults

  func kill(_ place: Int) {
    let life = life(at: place)
    note("node \(current[place]) is killed")
    for loop in life.loops { loop.kill() }
    life.ended = world.now
  }

  func leave(_ place: Int) {
    let life = life(at: place)
    note("node \(current[place]) leaves")
    life.leave()
    life.ended = world.now
  }

  func pause(_ place: Int, for duration: Duration, asleep: Bool) {
    let life = life(at: place)
    guard life.isAlive, life.pausedUntil <= world.now else { return }
    note("node \(current[place]) is \(asleep ? "asleep" : "stopped") for \(duration)")
    for loop in life.loops { loop.pause() }
    life.pausedUntil = world.now + duration
    life.troubles.append((world.now, world.now + duration))
    world.after(duration) {
      for loop in life.loops { loop.resume(asAfterSleep: asleep) }
    }
  }

  func cut(_ place: Int, for duration: Duration, toStore: Bool, fromStore: Bool) {
    let life = life(at: place)
    let host = life.host
    let what = toStore && fromStore ? "" : toStore ? ", is not heard" : ", hears nothing"
    note("node \(current[place]) is cut from the store for \(duration)\(what)")
    if toStore { world.cut(from: host, to: Self.store) }
    if fromStore { world.cut(from: Self.store, to: host) }
    life.troubles.append((world.now, world.now + duration))
    storeTroubles.append((world.now, world.now + duration))
    world.after(duration) { [unowned self] in
      if toStore { world.mend(from: host, to: Self.store) }
      if fromStore { world.mend(from: Self.store, to: host) }
    }
  }
}
