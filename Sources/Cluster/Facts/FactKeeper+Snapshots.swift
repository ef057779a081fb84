// Snapshots: what a node begins with that is too far behind for the log. Each node keeps one of its own on disk, so that it
// needs nothing but the log's end after a restart; the leader keeps one in the store, for those who have none.

import Core
import Pipeline

/// How a keeper stands with snapshots.
struct FactSnapshots {
  /// Nanoseconds between two of the store's, if anything has changed; and the most between two of a node's own.
  static let interval: Int64 = 300_000_000_000
  /// Nanoseconds between two of a node's own, for each fact that is written anew: a thousandth of a processor.
  private static let costPerFact: Int64 = 100_000
  /// The least between two of a node's own: what it knew that long before it ended it knows again without the store.
  static let shortest: Int64 = 2_000_000_000
  /// Facts after which the store's next one does not wait.
  static let deltas = 100_000
  private static let lookInterval: Int64 = 1_000_000_000

  /// Where this node keeps its own; nil where it has no place.
  var shelf: (any FactShelf)?
  /// Whether the store's is to be made anew as soon as this node may.
  var isDue = true
  /// Whether this node began the running epoch: it may make the first snapshot of it.
  var isOpener = false
  /// The digest of the newest one in the store, and of the one that was read last; empty where there is none.
  private(set) var announced: [UInt8] = []
  var loaded: [UInt8] = []
  /// The epoch of the one that was made last.
  var madeEpoch: Int64 = 0
  var isWorking = false
  var nextAt: Int64 = 0
  /// How much the store is swept, and where.
  var sweep = FactSweep()
  /// Facts since the store's last one, and since the last one on disk.
  private var changes = 0
  private var unsaved = 0
  private var madeAt: Int64 = 0
  private var savedAt: Int64 = .min
  /// The store's, other than usual in tests.
  var storeInterval = Self.interval

  mutating func heard(_ digest: [UInt8]) { announced = digest }
  mutating func note(_ count: Int) {
    changes += count
    unsaved += count
  }

  mutating func began(_ moment: Int64, epoch: Int64) {
    (madeAt, madeEpoch, changes, isDue, isWorking) = (moment, epoch, 0, false, true)
    saved(moment)
  }

  mutating func saved(_ moment: Int64) { (savedAt, unsaved) = (moment, 0) }

  /// Whether the store's is to be made now, by a node that may make it.
  func isStoreDue(_ moment: Int64) -> Bool {
    if announced.isEmpty || isDue { return true }
    return changes >= Self.deltas || changes > 0 && moment - madeAt >= storeInterval
  }

  /// Whether a node that knows so many facts is to write its own now.
  func isOwnDue(_ moment: Int64, facts: Int) -> Bool {
    guard shelf != nil, unsaved > 0 else { return false }
    let pause = min(Self.interval, max(Self.shortest, Int64(facts) * Self.costPerFact))
    return savedAt == .min || moment - savedAt >= pause
  }

  mutating func schedule(_ moment: Int64) { nextAt = moment + Self.lookInterval }
}

/// Where a leader stands in dropping from the store what is over.
struct FactSweep {
  static let pause: Int64 = 600_000_000_000
  static let step: Int64 = 50_000_000
  /// How long a deleted key is remembered, so that no older record brings it back: 30 days, in microseconds.
  static let memory: UInt64 = 30 * 86_400_000_000

  var at: Int64 = 0
  var cursor = "0"
  var type = "r"
  var isBusy = false
}

extension FactKeeper {
  /// Called in every turn; looks about once a second.
  func advanceSnapshots(_ moment: Int64) {
    guard snapshots.nextAt <= moment else { return }
    snapshots.schedule(moment)
    // A snapshot holds what led to its place, and nothing that others may not have: that would never be given back.
    guard lost.isEmpty, unread.isEmpty, position.sequence > 0, !snapshots.isWorking else { return }
    let isUp = isAligned && context.store.isUp
    let fence = isUp ? leadership.fence(at: moment) : nil
    let mayStore = isUp && (fence != nil || snapshots.isOpener && snapshots.announced.isEmpty)
    if mayStore, snapshots.isStoreDue(moment) {
      snapshots.began(moment, epoch: position.epoch)
      makeSnapshot(isKept: true) { [self] in store($0) }
    } else if snapshots.isOwnDue(moment, facts: view.revocations.count + view.keys.count) {
      snapshots.isWorking = true
      snapshots.saved(moment)
      makeSnapshot(isKept: true) { [self] _ in snapshots.isWorking = false }
    }
    if let fence, snapshots.sweep.at <= moment, !snapshots.sweep.isBusy { sweep(fence, moment) }
  }

  /// Makes a snapshot of what is known now, on another thread, and puts it on the disk where it is to be kept.
  func makeSnapshot(isKept: Bool = false, _ then: @escaping (FactSnapshot) -> Void) {
    let (view, position, now) = (view, position, seconds)
    let (prefix, secrets, shelf) = (context.store.prefix, context.secrets, isKept ? snapshots.shelf : nil)
    perform({
      let snapshot = FactSnapshot(view, at: position, now: now, cluster: prefix, secrets: secrets)
      return .made(snapshot, failure: shelf?.write(snapshot))
    }) { [weak self] done in
      guard let self, case .made(let snapshot, let failure) = done else { return }
      if let failure { context.remark("the copy of the facts on disk cannot be written: \(failure)") }
      then(snapshot)
    }
  }

  // MARK: The store's

  /// Puts a snapshot into the store if this node may: chunk by chunk, those that are not there yet, and the manifest last.
  private func store(_ snapshot: FactSnapshot) {
    let fence = leadership.fence(at: context.clock())
    guard fence != nil || snapshots.isOpener else {
      snapshots.isWorking = false
      return
    }
    guard position.epoch == snapshots.madeEpoch else { return giveUp() }
    storeChunk(0, of: snapshot, fence ?? 0)
  }

  private var chunkKey: [UInt8] { Array("\(context.store.prefix):facts:chunks".utf8) }

  private func storeChunk(_ number: Int, of snapshot: FactSnapshot, _ fence: Int64) {
    guard number < snapshot.chunks.count else { return storeManifest(of: snapshot, fence) }
    let name = Array(snapshot.chunks[number].digest.hexadecimal.utf8)
    func next(_ reply: AgentReply) {
      if case .integer = reply { return storeChunk(number + 1, of: snapshot, fence) }
      giveUp()
    }
    context.store.send([Array("HEXISTS".utf8), chunkKey, name]) { [self] reply in
      guard reply == .integer(0) else { return next(reply) }
      context.store.send([Array("HSET".utf8), chunkKey, name, snapshot.chunks[number].bytes], then: next)
    }
  }

  private func storeManifest(of snapshot: FactSnapshot, _ fence: Int64) {
    let arguments = [context.identity.id, "\(fence)", snapshot.digest].map { Array($0.utf8) } + [snapshot.manifest]
    let chunks = snapshot.chunks.map { Array($0.digest.hexadecimal.utf8) }
    context.store.call("fact-snapshot", arguments + chunks) { [self] reply in
      guard case .integer = reply else { return giveUp() }
      snapshots.isWorking = false
      snapshots.isOpener = false
    }
  }

  private func giveUp() {
    snapshots.isWorking = false
    snapshots.isDue = true
  }

  // MARK: Reading

  /// The log does not go back to where this node stands: reads the newest snapshot, unless that was of no help already.
  func fetchSnapshot(_ head: FactHead) {
    let wanted = head.snapshot
    guard !wanted.isEmpty, wanted != snapshots.loaded else { return }
    isBusy = true
    context.store.send([Array("GET".utf8), Array("\(context.store.prefix):facts:manifest".utf8)]) { [self] reply in
      guard let manifest = reply.bytes,
        let outline = FactSnapshot.outline(manifest, cluster: context.store.prefix, secrets: context.secrets)
      else { return rejectSnapshot(wanted, reply) }
      fetchChunk(of: outline, [], wanted)
    }
  }

  private func fetchChunk(of outline: FactSnapshot.Outline, _ chunks: [[UInt8]], _ name: [UInt8]) {
    guard chunks.count < outline.chunks.count else { return merge(outline, chunks, name) }
    let digest = Array(outline.chunks[chunks.count].hexadecimal.utf8)
    context.store.send([Array("HGET".utf8), chunkKey, digest], within: 5_000_000_000) { [self] reply in
      guard let chunk = reply.bytes else { return rejectSnapshot(name, reply) }
      fetchChunk(of: outline, chunks + [chunk], name)
    }
  }

  /// A snapshot that is not as the cluster signed it, or not all there, is not used; the next one may be.
  private func rejectSnapshot(_ name: [UInt8], _ reply: AgentReply) {
    isBusy = false
    lookAt = context.clock() + Self.interval
    if case .failed = reply { return }
    snapshots.loaded = name
    context.remark("a snapshot of the facts is damaged or not this cluster's, and is not used")
  }

  private func merge(_ outline: FactSnapshot.Outline, _ chunks: [[UInt8]], _ name: [UInt8]) {
    let (revocations, keys, now) = (revocations, keys, seconds)
    perform({
      .merged(
        FactSnapshot.content(outline, chunks: chunks).map { FactSnapshot.Merger($0, revocations, keys, now: now) })
    }) { [weak self] done in
      guard let self, case .merged(let merger) = done else { return }
      guard let merger else { return rejectSnapshot(name, .null) }
      snapshots.loaded = name
      // Whether the log still has what led here nobody compares any more.
      unread.append(history.records, at: position)
      adopt(merger)
      settle()
    }
  }

  /// Takes what a snapshot and this node knew together, and goes on where the snapshot ends.
  private func adopt(_ merger: FactSnapshot.Merger) {
    merger.merge(into: &revocations, &keys)
    // What was added while they were put together.
    insert(unread.records.compactMap { FactRecord($0) })
    let place = merger.position
    // The log goes on through epochs: whether it still has this place, its chain tells.
    position = FactPosition(
      epoch: position.epoch == 0 ? place.epoch : position.epoch, sequence: place.sequence, chain: place.chain)
    history.restart(at: position)
    publishView()
    isBusy = false
    lookAt = context.store.isUp ? 0 : .max
  }

  // MARK: The disk

  /// Begins with what this node has on its disk, before it connects.
  public func restore(from path: String) { restore(from: FactFolder(path: path)) }

  func restore(from shelf: any FactShelf) {
    snapshots.shelf = shelf
    isBusy = true
    let (prefix, secrets, now) = (context.store.prefix, context.secrets, seconds)
    perform({
      .merged(
        shelf.read(cluster: prefix, secrets: secrets).map {
          FactSnapshot.Merger($0, RevocationBook(), IssuedKeyBook(), now: now)
        })
    }) { [weak self] done in
      guard let self, case .merged(let merger) = done else { return }
      isBusy = false
      lookAt = context.store.isUp ? 0 : .max
      guard let merger else { return }
      highestEpoch = merger.position.epoch
      adopt(merger)
    }
  }

  // MARK: What is over

  /// Drops some of what is over from the store, and from this node what was deleted long ago.
  private func sweep(_ fence: Int64, _ moment: Int64) {
    let isKeys = snapshots.sweep.type == "k"
    let long = UInt64(max(0, context.world.wallTime.microseconds)) - FactSweep.memory
    let arguments = [
      context.identity.id, "\(fence)", snapshots.sweep.type, snapshots.sweep.cursor,
      "\(isKeys ? long : UInt64(seconds))",
    ]
    snapshots.sweep.isBusy = true
    context.store.call("fact-sweep", arguments) { [self] reply in
      snapshots.sweep.isBusy = false
      snapshots.sweep.cursor = reply.text ?? "0"
      snapshots.sweep.at = moment + FactSweep.step
      snapshots.nextAt = min(snapshots.nextAt, snapshots.sweep.at)
      guard snapshots.sweep.cursor == "0" else { return }
      if isKeys { snapshots.sweep.at = moment + FactSweep.pause }
      snapshots.sweep.type = isKeys ? "r" : "k"
    }
  }
}

extension FactSnapshot {
  /// What a node knew and what a snapshot holds, together: work of a second for millions.
  public struct Merger: Sendable {
    let position: FactPosition
    /// What is put in when they are adopted: few.
    private var few: Content?
    private var revocations: RevocationBook
    private var keys: IssuedKeyBook

    /// From so many on they are packed at once.
    private static let packedFrom = 20_000

    init(_ content: Content, _ revocations: RevocationBook, _ keys: IssuedKeyBook, now: UInt32) {
      self.revocations = revocations
      self.keys = keys
      position = content.position
      if content.revocations.count + content.keys.count >= Self.packedFrom {
        self.revocations.load(content, now: now)
        _ = self.keys.put(content.keys)
      } else {
        few = content
      }
    }

    /// Makes the books those of both.
    func merge(into revocations: inout RevocationBook, _ keys: inout IssuedKeyBook) {
      if let few {
        _ = revocations.insert(few.revocations)
        _ = keys.put(few.keys)
      } else {
        (revocations, keys) = (self.revocations, self.keys)
      }
    }
  }
}
