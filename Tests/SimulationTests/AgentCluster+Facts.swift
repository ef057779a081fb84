import Core
import Crypto
import Pipeline
import Simulation

@testable import Cluster

/// Something that was revoked, or a key that was made or changed, and who goes by it.
struct SimulatedFact {
  let record: FactRecord
  /// When the store had it, as far as whoever revoked it was told.
  var stored: Instant?
  /// Lives whose loops go by it.
  var holders: Set<Int> = []

  /// Whether those who look at this know it.
  func isKnown(in view: FactView, _ seconds: UInt32) -> Bool {
    switch record {
    case .revocation(let record): view.revocations.holds(record.revocation.mark, now: seconds)
    case .key(let key): (view.keys.key(key.id)?.version ?? 0) >= key.version
    }
  }
}

/// The disk of a machine, as far as facts are on it.
final class SimulatedFactShelf: FactShelf {
  // Only the simulation's one thread comes here.
  nonisolated(unsafe) private var kept: (manifest: [UInt8], chunks: [[UInt8]])?

  func write(_ snapshot: FactSnapshot) -> String? {
    unsafe kept = (snapshot.manifest, snapshot.chunks.map(\.bytes))
    return nil
  }

  func read(cluster: String, secrets: ClusterSecrets) -> FactSnapshot.Content? {
    guard let kept = unsafe kept else { return nil }
    return FactSnapshot.outline(kept.manifest, cluster: cluster, secrets: secrets).flatMap {
      FactSnapshot.content($0, chunks: kept.chunks)
    }
  }
}

extension AgentCluster {
  /// Revokes something else every now and then, or makes or changes a key, at any node.
  func revoke(every pause: Duration, until end: Instant) {
    guard world.now < end else { return }
    let number = current[random.number(in: 0...(current.count - 1))]
    if lives[number].isAlive { revoke(at: number) }
    world.after(pause * random.number(in: 1...3)) { [unowned self] in revoke(every: pause, until: end) }
  }

  /// Lets a life add another fact; returns its number.
  @discardableResult
  func revoke(at life: Int) -> Int {
    facts.append(SimulatedFact(record: makeRecord()))
    sockets[life].send(.revoke(facts.count - 1))
    return facts.count - 1
  }

  private func makeRecord() -> FactRecord {
    let serial = UInt64(facts.count + 1)
    guard random.chance(0.4), let id = KeyID(number: serial % 8 + 1) else {
      return .revocation(RevocationRecord(Revocation(RevocationMark(bits: serial)!)))
    }
    let state: IssuedKey.State = random.chance(0.2) ? .deleted : random.chance(0.2) ? .disabled : .active
    return .key(
      IssuedKey(
        id: id, version: serial, digest: Digest(words: (serial, 1, 2, 3)), consumer: KeyConsumer(id: "c"), state: state,
        created: 1))
  }

  /// The store has taken it, says the node that was asked, which waits until all have it now.
  func stored(_ fact: Int, at place: FactPosition, by keeper: FactKeeper) {
    facts[fact].stored = facts[fact].stored ?? world.now
    keeper.wait(for: place, nanoseconds: 2_000_000_000) { [unowned self] in received($0, of: fact) }
  }

  /// Everybody has it, says a receipt: then everybody has.
  private func received(_ receipt: FactReceipt, of fact: Int) {
    guard receipt.missing.isEmpty, receipt.of == current.count else { return }
    receipts += 1
    let missing = current.filter { lives[$0].isAlive && lives[$0].began < facts[fact].stored! }
      .filter { !facts[fact].holders.contains($0) }
    if !missing.isEmpty {
      problems.append("\(world.now.nanoseconds / 1_000_000) ms: a receipt says that \(missing) go by fact \(fact)")
    }
  }

  /// Another thread of a node does what takes long.
  func work(_ number: Int, _ work: @escaping @Sendable () -> FactWork, for life: Int) {
    world.after(.microseconds(random.number(in: 0...30_000))) { [unowned self] in
      guard lives[life].isAlive else { return }
      sockets[life].send(.done(number, work()))
    }
  }

  /// The log loses what is in the newest snapshot.
  func trimFactLog() {
    guard let bytes = redis.store.value(of: "sluice:t:{cluster}:facts:manifest"),
      let outline = FactSnapshot.outline(bytes, cluster: "sluice:t:{cluster}", secrets: Self.secrets)
    else { return }
    note("the log is trimmed up to \(outline.position.sequence)")
    redis.trim("sluice:t:{cluster}:facts:log", below: UInt64(outline.position.sequence + 1))
  }

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
      if facts[index].isKnown(in: view, seconds) {
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
    let since = restored
    if let split = splits.last, split.host == lives[life].host, split.to == .never, moment > split.from {
      problems.append("\(world.now.nanoseconds / 1_000_000) ms: node \(life) trusts a primary that is cut off")
    }
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
