/// All revocations of a node as they grow: one writer, which makes a new ``Revocations`` whenever it has something new.
public struct RevocationBook: Sendable {
  /// From this size on the newest part, which every change copies, is poured into the middle one.
  static let newestLimit = 512
  /// From this size on the middle part is packed.
  public static let middleLimit = 128 * 1024

  /// What loops look at; replaced by every change.
  public private(set) var current = Revocations()
  private var newest = RevocationTable()
  private var middle = RevocationTable()
  private var leaving = RevocationTable()
  private var isPacking = false
  /// Changes whenever everything is packed at once: what was being packed before is part of it.
  private var generation = 0

  /// An empty book.
  public init() {}

  /// Adds revocations; false where all were known already.
  public mutating func insert(_ revocations: some Sequence<Revocation>) -> Bool {
    var isNew = false
    for revocation in revocations where !isKnown(revocation) {
      newest.insert(revocation)
      isNew = true
    }
    guard isNew else { return false }
    if newest.count > Self.newestLimit {
      newest.forEach { middle.insert($0) }
      newest = RevocationTable()
    }
    publish()
    return true
  }

  /// Whether it would change nothing.
  private func isKnown(_ revocation: Revocation) -> Bool {
    newest.find(revocation.mark).covers(revocation) || current.covers(revocation)
  }

  private mutating func publish() {
    current = Revocations(
      newest: newest, middle: middle, leaving: leaving, base: current.base, exact: current.exact)
  }

  // MARK: Packing

  /// What is to be packed now, on whatever thread has time for it; nil where there is nothing. Until the result is given
  /// to ``adopt(_:)`` everything stays in force.
  public mutating func takeWork(now: UInt32) -> RevocationPacking? {
    guard !isPacking, middle.count >= Self.middleLimit else { return nil }
    isPacking = true
    leaving = middle
    middle = RevocationTable()
    publish()
    return RevocationPacking(source: current, now: now, generation: generation)
  }

  /// Takes what came of ``takeWork(now:)``.
  public mutating func adopt(_ packed: RevocationPacking.Result) {
    guard packed.generation == generation else { return }
    isPacking = false
    leaving = RevocationTable()
    current = Revocations(newest: newest, middle: middle, base: packed.base, exact: packed.exact)
  }

  /// Adds many at once, on the calling thread and packed: some 200 ns each.
  public mutating func load(_ source: some RevocationSource, now: UInt32) {
    generation += 1
    let packed = RevocationPacking.pack(
      Addition(old: current, new: source, now: now), now: now, generation: generation)
    newest = RevocationTable()
    middle = RevocationTable()
    adopt(packed)
  }

  /// What there is, and what is new in another source.
  private struct Addition<Source: RevocationSource>: RevocationSource {
    let old: Revocations
    let new: Source
    let now: UInt32

    func forEach(_ body: (Revocation) -> Void) {
      old.forEach(now: now, body)
      new.forEach { if !old.covers($0) { body($0) } }
    }
  }
}

/// Something that hands out revocations, the same ones as often as it is asked.
public protocol RevocationSource {
  /// Hands out all of them; one may come several times.
  func forEach(_ body: (Revocation) -> Void)
}

extension RevocationTable.Slot {
  fileprivate func covers(_ revocation: Revocation) -> Bool {
    bits != 0 && expires >= revocation.expires && issuedBefore >= revocation.issuedBefore
  }
}

extension Revocations {
  /// Whether a revocation would change nothing.
  fileprivate func covers(_ revocation: Revocation) -> Bool {
    if newest.find(revocation.mark).covers(revocation) || middle.find(revocation.mark).covers(revocation) {
      return true
    }
    if leaving.find(revocation.mark).covers(revocation) || exact.find(revocation.mark).covers(revocation) {
      return true
    }
    return revocation.isCompact && (base?.find(revocation.mark) ?? 0) >= revocation.expires
  }
}

/// The packing of revocations: work of some 100 ns each, for a thread of its own.
public struct RevocationPacking: Sendable, RevocationSource {
  let source: Revocations
  let now: UInt32
  let generation: Int

  /// What came of it.
  public struct Result: Sendable {
    let base: RevocationBase?
    let exact: RevocationTable
    let generation: Int
  }

  /// Does it: everything that is old in the source becomes one packed part.
  public func run() -> Result { Self.pack(self, now: now, generation: generation) }

  /// See ``RevocationSource``: everything that is old.
  public func forEach(_ body: (Revocation) -> Void) {
    source.leaving.forEach { revocation in
      // What the packed part knows already would be there twice.
      if !revocation.isCompact || (source.base?.find(revocation.mark) ?? 0) < revocation.expires { body(revocation) }
    }
    source.exact.forEach(body)
    source.base?.forEach { body(Revocation($0, expires: $1)) }
  }

  static func pack(_ source: some RevocationSource, now: UInt32, generation: Int) -> Result {
    var exact = RevocationTable()
    var hasCompact = false
    source.forEach { revocation in
      if revocation.expires <= now { return }
      if revocation.isCompact { hasCompact = true } else { exact.insert(revocation) }
    }
    return Result(base: hasCompact ? RevocationBase(source, now: now) : nil, exact: exact, generation: generation)
  }
}
