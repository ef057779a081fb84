import Core
import Simulation

/// A primary that was cut off together with a node, while the others had another one promoted.
struct ClusterSplit {
  let host: IPAddress
  let from: Instant
  var to = Instant.never
}

extension NodeCluster {
  /// Cuts the primary and the node in a place off from the rest, which has another one `promotion` later; the former one takes
  /// writes for `writes` and is gone after `duration`.
  func split(_ place: Int, promotion: Duration, writes: Duration, for duration: Duration) {
    guard redis.isAlive, !redis.isSplit else { return }
    let life = life(at: place)
    note("redis and node \(current[place]) are cut off for \(duration), another primary is there after \(promotion)")
    redis.split(with: [life.host])
    let number = splits.count
    splits.append(ClusterSplit(host: life.host, from: world.now))
    let failure = failures.count
    failures.append((world.now, world.now))
    life.troubles.append((world.now, world.now + duration))
    storeTroubles.append((world.now, world.now + duration))
    world.after(promotion) { [unowned self] in
      note("the others have another primary")
      redis.promoteReplica()
    }
    world.after(writes) { [unowned self] in
      guard splits[number].to == .never else { return }
      redis.refuseWrites()
    }
    world.after(duration) { [unowned self] in
      note("the former primary is gone")
      redis.heal()
      splits[number].to = world.now
      failures[failure].to = world.now
    }
  }

  /// When the store had last come back without all that it had said: never, while it has not.
  var restored: Instant {
    failures.contains { $0.to == $0.from } ? .never : failures.map(\.to).max() ?? Instant(nanoseconds: 0)
  }
}
