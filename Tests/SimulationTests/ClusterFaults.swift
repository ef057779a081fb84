import Core
import Simulation

/// What can go wrong with a cluster.
enum ClusterFault: CaseIterable {
  case jitter, pause, sleep, kill, leave, freeze, disconnect, cut, cutOneWay, failover, wipe, forgetScripts, wallClock
  case redisClock, split, trim

  /// Whether a store may have forgotten what it said.
  var losesWrites: Bool { self == .failover || self == .wipe || self == .split }
}

extension NodeCluster {
  /// Lets such a fault happen now; it lasts `longest` milliseconds at the most, a pause of a node four times as long.
  func happen(_ fault: ClusterFault, longest: Int = 400) throws {
    let place = random.number(in: 0...(current.count - 1))
    let short = Duration.milliseconds(random.number(in: 1...longest))
    let isStores: Set<ClusterFault> = [.jitter, .freeze, .disconnect, .failover, .wipe]
    if isStores.contains(fault) { storeTroubles.append((world.now, world.now + short)) }
    switch fault {
    case .jitter: jitter(for: short)
    case .pause, .sleep: pause(place, for: short * random.number(in: 1...4), asleep: fault == .sleep)
    case .kill, .leave:
      guard life(at: place).isAlive, life(at: place).pausedUntil <= world.now else { return }
      if fault == .kill { kill(place) } else { leave(place) }
      world.after(short) { [unowned self] in
        note("a new node in place \(place)")
        do { try start(place) } catch { problems.append("a node does not start: \(error)") }
      }
    case .freeze:
      note("redis is frozen for \(short)")
      redis.freeze()
      world.after(short) { [unowned self] in redis.thaw() }
    case .disconnect:
      note("redis loses its connections")
      redis.cutConnections()
    case .cut: cut(place, for: short, toStore: true, fromStore: true)
    case .cutOneWay:
      let isDeaf = random.chance(0.5)
      cut(place, for: short, toStore: !isDeaf, fromStore: isDeaf)
    case .failover, .wipe:
      guard redis.isAlive else { return }
      note(fault == .wipe ? "redis is lost" : "redis fails over, \(redis.lag) behind")
      redis.crash()
      let failure = failures.count
      failures.append((world.now, world.now))
      world.after(short) { [unowned self] in
        note("redis is back")
        if fault == .wipe { redis.restartEmpty() } else { redis.promoteReplica() }
        failures[failure].to = world.now
      }
    case .forgetScripts:
      note("redis forgets its scripts")
      redis.forgetScripts()
    case .wallClock:
      let step: Int64 = random.number(in: -3_600_000_000...3_600_000_000)
      note("the wall clock of node \(current[place]) is set by \(step) µs")
      for loop in life(at: place).loops { loop.clocks.wallOffsetMicroseconds += step }
    case .redisClock: stepClock()
    case .split:
      let promotion = Duration.milliseconds(random.number(in: 1...longest))
      let writes = Duration.milliseconds(random.number(in: 1...2000))
      split(
        place, promotion: promotion, writes: writes,
        for: promotion + .milliseconds(random.number(in: 1...max(2500, longest))))
    case .trim: trimLog()
    }
  }

  private func jitter(for duration: Duration) {
    note("the network is slow for \(duration)")
    world.conditions.latency = .microseconds(20) ... .milliseconds(random.number(in: 1...8))
    world.conditions.resetChance = random.chance(0.3) ? 0.002 : 0
    world.after(duration) { [unowned self] in
      world.conditions.latency = conditions.latency
      world.conditions.resetChance = conditions.resetChance
    }
  }

  private func stepClock() {
    let isSmall = random.chance(0.5)
    let step: Int64 = isSmall ? random.number(in: -200_000...200_000) : random.number(in: -60_000_000...60_000_000)
    note("redis's clock is set by \(step) µs")
    redis.clockOffsetMicroseconds += step
    clockSteps.append((world.now, step))
  }
}
