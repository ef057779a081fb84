import Core
import Pipeline
import Simulation

@testable import Cluster

/// Something that was revoked, and who goes by it.
struct SimulatedFact {
  let mark: RevocationMark
  /// When the store had it, as far as whoever revoked it was told.
  var stored: Instant?
  /// Lives whose loops go by it.
  var holders: Set<Int> = []
}

extension AgentCluster {
  /// Revokes something else every now and then, at any node.
  func revoke(every pause: Duration, until end: Instant) {
    guard world.now < end else { return }
    let number = current[random.number(in: 0...(current.count - 1))]
    if lives[number].isAlive, let mark = RevocationMark(bits: UInt64(facts.count + 1)) {
      facts.append(SimulatedFact(mark: mark))
      sockets[number].send(.revoke(facts.count - 1))
    }
    world.after(pause * random.number(in: 1...3)) { [unowned self] in revoke(every: pause, until: end) }
  }

  /// The store has taken it, says the node that was asked.
  func stored(_ fact: Int) { facts[fact].stored = facts[fact].stored ?? world.now }

  /// A view is on its way to a node's loops.
  func deliver(_ view: FactView, _ number: Int, to life: Int) {
    // Loops hear of one behind the other.
    let earliest = world.now + .microseconds(random.number(in: 0...3000))
    delivered[life] = max(delivered[life] ?? earliest, earliest)
    world.after(.nanoseconds(delivered[life]!.nanoseconds(since: world.now))) { [unowned self] in
      if lives[life].isAlive { sockets[life].send(.taken(view, number)) }
    }
  }

  /// The loops of a node go by this view from now on: what they went by before must still be there.
  func went(by view: FactView, _ life: Int) {
    let seconds = UInt32(clamping: world.wallTime.seconds)
    for index in facts.indices {
      if view.revocations.holds(facts[index].mark, now: seconds) {
        facts[index].holders.insert(life)
      } else if facts[index].holders.contains(life) {
        problems.append("\(world.now.nanoseconds / 1_000_000) ms: node \(life) has forgotten fact \(index)")
      }
    }
  }

  /// A node that says that it had everything at a moment did: looked at in every turn of it.
  func watchFacts(_ life: Int) {
    let verified = agents[life].verification.verifiedAt
    guard verified != .min else { return }
    let clocks = lives[life].loops[0].clocks
    let age = (lives[life].loops[0].bootNanoseconds - verified) / (1_000_000 + clocks.driftPartsPerMillion) * 1_000_000
    let moment = world.now.advanced(byNanoseconds: -age - 2_000_000)
    // What a failover has lost comes back with those who knew it, and not before they do.
    let since = failures.last.map { $0.to == $0.from ? .never : $0.to } ?? Instant(nanoseconds: 0)
    for (index, fact) in facts.enumerated() {
      guard let stored = fact.stored, stored < moment, stored > since, !fact.holders.contains(life) else { continue }
      problems.append(
        "\(world.now.nanoseconds / 1_000_000) ms: node \(life) is sure of \(moment.nanoseconds / 1_000_000) ms and lacks fact "
          + "\(index) of \(stored.nanoseconds / 1_000_000) ms")
      // Once is enough.
      facts[index].stored = nil
    }
  }

  /// In the end all who live go by the same, and by everything that one of them ever went by.
  func checkFacts() {
    let alive = Set(current.filter { lives[$0].isAlive })
    for (index, fact) in facts.enumerated() {
      let missing = alive.subtracting(fact.holders).sorted()
      guard !missing.isEmpty, !alive.isDisjoint(with: fact.holders) || fact.stored != nil && failures.isEmpty else {
        continue
      }
      problems.append("nodes \(missing) never go by fact \(index)")
    }
    for number in alive.sorted() {
      // Negative where it never was.
      let verifiedAt = max(0, agents[number].verification.verifiedAt)
      let age = lives[number].loops[0].bootNanoseconds - verifiedAt
      if age > 1_000_000_000 { problems.append("node \(number) is not sure of its facts for \(age / 1_000_000) ms") }
    }
  }
}
