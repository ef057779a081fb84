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
    if !unread.isFull, let records = lost.next() { return giveBack(records) }
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
    guard let head = FactHead(items), let progress = FactProof.Progress(items), items.count % 3 == 0 else { return }
    snapshots.heard(head.snapshot)
    var records: [FactRecord] = []
    for place in stride(from: 6, to: items.count, by: 3) {
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
    settle()
    let isAll = position.sequence == head.sequence && position.chain == head.chain
    if let proven = proof.take(progress, of: isAll ? moment : nil, in: head.epoch) { confirm(proven) }
    if isAll { return hurryReplicas(moment) }
    if head.sequence > position.sequence, items.count > 6 {
      lookAt = 0
    } else if head.sequence > position.sequence {
      fetchSnapshot(head)
    } else {
      open(head)
    }
  }

  /// Has replicas tell at once how far they are, where it is time: by themselves they do so once a second. What the answer
  /// says counts for nothing, as it may be about another connection's writes; the next look tells.
  private func hurryReplicas(_ moment: Int64) {
    guard proof.takeHurry(moment) else { return }
    context.store.send(["WAIT", "1", "1"].map { Array($0.utf8) }) { [self] reply in
      switch reply {
      case .integer(let count) where count > 0: if isBusy { mustLookAgain = true } else { lookAt = 0 }
      case .refused: proof.mayHurry = false
      default: break
      }
    }
  }

  /// Makes records this node's own, and the loops'.
  func apply(_ records: [FactRecord]) {
    guard !records.isEmpty else { return }
    if insert(records) { publishView() } else { notePosition() }
    snapshots.note(records.count)
  }

  /// Makes records this node's own; whether any is new.
  @discardableResult
  func insert(_ records: [FactRecord]) -> Bool {
    var revoked: [Revocation] = []
    var changed: [IssuedKey] = []
    for record in records {
      switch record {
      case .revocation(let record): revoked.append(record.revocation)
      case .key(let key): changed.append(key)
      }
    }
    let isNew = revocations.insert(revoked)
    return !keys.put(changed).isEmpty || isNew
  }

  // MARK: Losses

  /// The running epoch is not the one in which this node stands: finds out where the log and this node still agree.
  private func compareHead(_ reply: AgentReply) {
    guard let head = FactHead(reply.items) else {
      lookAt = context.clock() + Self.pause
      return
    }
    snapshots.heard(head.snapshot)
    let isOfAnother = reply.items.count > 4 && reply.items[4].number == 1
    if head.epoch == 0 || head.epoch < highestEpoch || isOfAnother { return open(head, isOfAnother: isOfAnother) }
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
    let missing = history.takeEntries(behind: sequence).map(\.record).filter { !$0.isEmpty }
    addAgain(missing)
    position = FactPosition(epoch: epoch, sequence: sequence, chain: chain)
    highestEpoch = max(highestEpoch, epoch)
    settle()
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
    lost.records += unread.takeAll()
    position = FactPosition(epoch: head.epoch, sequence: 0, chain: [])
    history.restart(at: position)
    snapshots.loaded = []
    isAligned = true
    lookAt = 0
    addAllAgain()
  }

  private func addAllAgain() {
    lost.underWay += 1
    makeSnapshot { [self] snapshot in
      lost.underWay -= 1
      lost.chunks += snapshot.chunks.map(\.bytes)
      lookAt = context.store.isUp ? 0 : .max
    }
  }

  private func addAgain(_ records: [[UInt8]]) {
    guard !records.isEmpty else { return }
    context.remark("the store has lost \(records.count) facts; they are added again")
    lost.records += records
  }

  /// Compares what was added with what has been read. An addition that is not in the log by now was lost before anybody read
  /// it, though a failover may have gone by unnoticed: others may have written behind what was left, under the same numbers.
  func settle() {
    let gone = unread.takeRead(position).filter { !history.holds($0.place.sequence, $0.place.chain) }
    for addition in gone { recallWaiters(of: addition.place) }
    addAgain(gone.flatMap { $0.records ?? [] })
    if gone.contains(where: { $0.records == nil }) { addAllAgain() }
  }

  /// After everything was lost: puts back what the store itself is asked for.
  private func fill() {
    guard view.keys.count + view.revocations.count > 0 else { return }
    makeSnapshot { [self] snapshot in
      lost.fillings += snapshot.chunks.map(\.bytes)
      lookAt = context.store.isUp ? 0 : .max
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
      let isOfChunk = lost.isOfChunk
      lost.removeTaken()
      guard let place = FactPosition(added: reply.items) else { return }
      unread.append(isOfChunk ? nil : records, at: place)
      if lost.isEmpty { moveWaiters(to: place.sequence) }
    }
  }

  /// Ends an epoch of which something was lost, and begins another one. Whoever does so first decides; the others learn of it
  /// and compare, as this node does then.
  private func open(_ head: FactHead, isOfAnother: Bool = false) {
    let milliseconds = context.world.wallTime.microseconds / 1000
    let epoch = max(max(highestEpoch, head.epoch) + 1, milliseconds)
    if !isOfAnother, head.epoch != 0 || position != .none {
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
