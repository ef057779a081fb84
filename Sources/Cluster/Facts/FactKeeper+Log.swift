import Core
import Pipeline

extension FactKeeper {
  /// Entries that are read, added or compared at once.
  static let batch = 256
  private static let page = 500

  private func ask(_ verb: String, _ arguments: [[UInt8]], _ then: @escaping (AgentReply) -> Void) {
    isBusy = true
    mustLookAgain = false
    context.store.call(verb, arguments) { [self] reply in
      isBusy = false
      let moment = context.clock()
      lookAt = mustLookAgain ? 0 : moment + Self.interval
      if case .failed = reply {
        lookAt = context.store.isUp ? moment + Self.pause : .max
        return
      }
      then(reply)
    }
  }

  private func ask(_ verb: String, _ arguments: [String], _ then: @escaping (AgentReply) -> Void) {
    ask(verb, arguments.map { Array($0.utf8) }, then)
  }

  /// One look at the log, or the next step to where one can be had.
  func look(_ moment: Int64) {
    if !isAligned { return ask("fact-head", [String]()) { [self] in compareHead($0) } }
    if let records = lost.next() { return giveBack(records) }
    let arguments = ["\(position.epoch)", "\(position.sequence)", "\(Self.page)"]
    ask("fact-read", arguments) { [self] reply in
      if case .refused(let code, _) = reply {
        if code == "EPOCH" { isAligned = false }
        lookAt = code == "EPOCH" ? 0 : context.clock() + Self.pause
        return
      }
      read(reply.items, moment)
    }
  }

  /// Takes in a page of the log.
  private func read(_ items: [AgentReply], _ moment: Int64) {
    guard let head = FactHead(items), items.count % 3 == 1 else { return }
    snapshots.heard(head.snapshot)
    var records: [FactRecord] = []
    for place in stride(from: 4, to: items.count, by: 3) {
      guard let number = items[place].number, let record = items[place + 1].bytes, let chain = items[place + 2].bytes
      else { return }
      let next = position.next(record)
      if number > next.sequence {
        apply(records)
        return fetchSnapshot(head)
      }
      guard number == next.sequence, chain == next.chain else {
        apply(records)
        return open(head)
      }
      position = next
      history.append(.init(sequence: number, chain: chain, record: record))
      if let known = FactRecord(record) { records.append(known) }
    }
    apply(records)
    forgetOwn()
    if position.sequence == head.sequence, position.chain == head.chain { return confirm(moment) }
    if head.sequence > position.sequence, items.count > 4 {
      lookAt = 0
    } else if head.sequence > position.sequence {
      fetchSnapshot(head)
    } else {
      open(head)
    }
  }

  /// Makes records this node's own, and the loops'.
  func apply(_ records: [FactRecord]) {
    guard !records.isEmpty else { return }
    var revoked: [Revocation] = []
    var changed: [IssuedKey] = []
    for record in records {
      switch record {
      case .revocation(let record): revoked.append(record.revocation)
      case .key(let key): changed.append(key)
      }
    }
    let isNew = revocations.insert(revoked)
    if !keys.put(changed).isEmpty || isNew { publishView() } else { notePosition() }
    snapshots.note(records.count)
  }

  // MARK: Losses

  /// The running epoch is not the one in which this node stands: finds out where the log and this node still agree.
  private func compareHead(_ reply: AgentReply) {
    guard let head = FactHead(reply.items) else {
      lookAt = context.clock() + Self.pause
      return
    }
    snapshots.heard(head.snapshot)
    if head.epoch == 0 || head.epoch < highestEpoch { return open(head) }
    highestEpoch = head.epoch
    if position == .none {
      // Whoever knows nothing begins with a snapshot, or with the first entry.
      isAligned = true
      position.epoch = head.epoch
      history.restart(at: position)
      lookAt = 0
      return
    }
    if history.holds(head.sequence, head.chain) { return align(head.epoch, at: head.sequence, head.chain) }
    let last = min(head.sequence, position.sequence)
    compareChains(head, from: last)
  }

  private func compareChains(_ head: FactHead, from last: Int64) {
    guard last >= max(1, history.oldest) else { return alignNowhere(head) }
    ask("fact-chains", ["\(head.epoch)", "\(last)", "\(Self.page)"]) { [self] reply in
      guard case .list(let items) = reply else {
        lookAt = 0
        return
      }
      for place in stride(from: 0, to: items.count - 1, by: 2) {
        guard let number = items[place].number, let chain = items[place + 1].bytes else { return }
        if history.holds(number, chain) { return align(head.epoch, at: number, chain) }
      }
      guard items.count >= 2, let oldest = items[items.count - 2].number else { return alignNowhere(head) }
      compareChains(head, from: oldest - 1)
    }
  }

  /// The log and this node agree up to a place: what this node has beyond is added again, and it reads on from there.
  private func align(_ epoch: Int64, at sequence: Int64, _ chain: [UInt8]) {
    let missing =
      history.takeEntries(behind: sequence).map(\.record).filter { !$0.isEmpty } + own.flatMap(\.records)
    own = []
    if !missing.isEmpty { context.remark("the store has lost \(missing.count) facts; they are added again") }
    lost.records += missing
    position = FactPosition(epoch: epoch, sequence: sequence, chain: chain)
    highestEpoch = max(highestEpoch, epoch)
    isAligned = true
    lookAt = 0
    snapshots.isDue = true
    if lost.isEmpty { moveWaiters(to: sequence) }
    notePosition()
  }

  /// The log and this node have nothing in common any more: everything is added again, and the node reads on from a
  /// snapshot, or from the beginning where there is none.
  private func alignNowhere(_ head: FactHead) {
    context.remark("the store's facts are not those that this node knows: all of them are added again")
    lost.records += own.flatMap(\.records)
    own = []
    position = FactPosition(epoch: head.epoch, sequence: 0, chain: [])
    history.restart(at: position)
    snapshots.loaded = []
    isAligned = true
    isBusy = true
    makeSnapshot { [self] snapshot in
      lost.chunks += snapshot.chunks.map(\.bytes)
      isBusy = false
      lookAt = 0
    }
  }

  /// After everything was lost: puts back what the store itself is asked for.
  private func fill() {
    guard view.keys.count + view.revocations.count > 0 else { return }
    makeSnapshot { [self] snapshot in
      lost.fillings += snapshot.chunks.map(\.bytes)
      lookAt = 0
    }
  }

  /// Adds to the log what it has lost.
  private func giveBack(_ records: [[UInt8]]) {
    ask(lost.isFilling ? "fact-fill" : "fact-add", [Array("\(position.epoch)".utf8)] + records) { [self] reply in
      lookAt = 0
      if case .refused(let code, _) = reply, code == "EPOCH" {
        // What was lost before is still lost; what was added is known by then.
        isAligned = false
        return
      }
      lost.removeTaken()
      if lost.isEmpty, let last = reply.items.dropFirst().first?.number { moveWaiters(to: last) }
    }
  }

  /// Ends an epoch of which something was lost, and begins another one. Whoever does so first decides; the others learn of it
  /// and compare, as this node does then.
  private func open(_ head: FactHead) {
    let milliseconds = context.world.wallTime.microseconds / 1000
    let epoch = max(max(highestEpoch, head.epoch) + 1, milliseconds)
    if head.epoch != 0 || position != .none {
      context.remark("the store has lost facts: epoch \(head.epoch) is over")
    }
    isAligned = false
    let arguments = ["\(head.epoch)", "\(epoch)", "\(position.sequence)"].map { Array($0.utf8) } + [position.chain]
    ask("fact-open", arguments) { [self] reply in
      guard let opened = FactHead(reply.items) else { return }
      if opened.epoch == epoch {
        // What was lost with everything else is there again for those who ask the store itself.
        if head.epoch == 0 { fill() }
        snapshots.isDue = true
        snapshots.isOpener = true
      }
      // Where that did not help it is not tried again and again without a pause.
      let moment = context.clock()
      lookAt = moment - openedAt < Self.interval ? moment + Self.interval : 0
      openedAt = moment
    }
  }
}

/// How far the log goes, as the store tells.
struct FactHead {
  let epoch: Int64
  let sequence: Int64
  let chain: [UInt8]
  /// SHA-256 of the manifest of the newest snapshot, in hexadecimal digits; empty where there is none.
  let snapshot: [UInt8]

  init?(_ items: [AgentReply]) {
    guard items.count >= 4, let epoch = items[0].number, let sequence = items[1].number, let chain = items[2].bytes,
      let snapshot = items[3].bytes, epoch >= 0, sequence >= 0
    else { return nil }
    self.epoch = epoch
    self.sequence = sequence
    self.chain = chain
    self.snapshot = snapshot
  }
}

/// Facts that a log has lost, as they wait to be given back: in batches, of which the next one is taken out when it has
/// arrived.
struct LostFacts {
  /// Records to be added.
  var records: [[UInt8]] = []
  /// Chunks of a snapshot, to be added.
  var chunks: [[UInt8]] = []
  /// Chunks of a snapshot, to be put where the store is asked, but not into the log.
  var fillings: [[UInt8]] = []
  private var filling: [[UInt8]] = []
  private var taken = 0
  /// Whether what ``next()`` answered last is no addition.
  private(set) var isFilling = false

  var isEmpty: Bool { records.isEmpty && chunks.isEmpty && fillings.isEmpty && filling.isEmpty }

  /// The next batch; nil where there is none.
  mutating func next() -> [[UInt8]]? {
    if records.isEmpty, let chunk = chunks.popLast() { records = Self.records(of: chunk) }
    isFilling = records.isEmpty
    if isFilling, filling.isEmpty, let chunk = fillings.popLast() { filling = Self.records(of: chunk) }
    let batch = Array((isFilling ? filling : records).prefix(FactKeeper.batch))
    taken = batch.count
    return batch.isEmpty ? nil : batch
  }

  /// The last batch has arrived.
  mutating func removeTaken() {
    if isFilling { filling.removeFirst(taken) } else { records.removeFirst(taken) }
    taken = 0
  }

  private static func records(of chunk: [UInt8]) -> [[UInt8]] {
    var revocations: [Revocation] = []
    var keys: [IssuedKey] = []
    guard FactSnapshot.read(chunk, &revocations, &keys) else { return [] }
    return keys.map { FactRecord.key($0).encoded }
      + revocations.map { FactRecord.revocation(RevocationRecord($0)).encoded }
  }
}
