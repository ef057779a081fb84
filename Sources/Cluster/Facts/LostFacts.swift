import Pipeline

/// Facts that a log has lost, as they wait to be given back: in batches, of which the next one is taken out when it has
/// arrived.
struct LostFacts {
  /// Records to be added.
  var records: [[UInt8]] = []
  /// Chunks of a snapshot, to be added.
  var chunks: [[UInt8]] = []
  /// Chunks of a snapshot, to be put where the store is asked, but not into the log.
  var fillings: [[UInt8]] = []
  /// How often everything that the node knows is being made into chunks.
  var underWay = 0
  private var filling: [[UInt8]] = []
  private var taken = 0
  /// Whether what ``next()`` answered last is no addition.
  private(set) var isFilling = false
  /// Whether it is part of a chunk: of all that the node knows.
  private(set) var isOfChunk = false

  var isEmpty: Bool { records.isEmpty && chunks.isEmpty && underWay == 0 && fillings.isEmpty && filling.isEmpty }

  /// The next batch; nil where there is none.
  mutating func next() -> [[UInt8]]? {
    if records.isEmpty {
      isOfChunk = !chunks.isEmpty
      if let chunk = chunks.popLast() { records = Self.records(of: chunk) }
    }
    // What is filled in is not taken for new behind it: additions go first.
    isFilling = records.isEmpty && underWay == 0
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

/// What a node has added to the log and has not read there yet: until then nobody may have it but this node.
struct UnreadFacts {
  /// Of so many additions the records are kept; more are as good as everything.
  private static let recordLimit = 1024
  /// The most additions: a node that is not able to read adds no more.
  private static let limit = 100_000

  /// Records that were added; nil for everything that the node knew.
  struct Addition {
    let place: FactPosition
    let records: [[UInt8]]?
  }

  private var additions: [Addition] = []

  var isEmpty: Bool { additions.isEmpty }
  var isFull: Bool { additions.count >= Self.limit }
  /// What is known to be there, record by record.
  var records: [[UInt8]] { additions.flatMap { $0.records ?? [] } }

  /// Records were added, nil for part of everything; the last one is at `place`.
  mutating func append(_ records: [[UInt8]]?, at place: FactPosition) {
    additions.append(Addition(place: place, records: additions.count >= Self.recordLimit ? nil : records))
  }

  /// Takes out what must have been read by whoever is at `position`, or was added in another epoch.
  mutating func takeRead(_ position: FactPosition) -> [Addition] {
    let isUnread = { (addition: Addition) in
      addition.place.epoch == position.epoch && addition.place.sequence > position.sequence
    }
    let read = additions.filter { !isUnread($0) }
    additions.removeAll { !isUnread($0) }
    return read
  }

  /// Takes out all records.
  mutating func takeAll() -> [[UInt8]] {
    defer { additions = [] }
    return records
  }
}
