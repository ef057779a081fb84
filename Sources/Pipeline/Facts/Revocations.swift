/// What is revoked, as loops look at it. Immutable: each change makes a new one that shares almost everything with the one
/// before.
///
/// Four parts, from new to old: what came last and is copied with every change, a table of at most 128 k that it is
/// poured into, that table while it is being packed, and the packed rest. A name that is not revoked is known after a look
/// at each, some 30 ns with ten million revocations.
public final class Revocations: Sendable {
  let newest: RevocationTable
  let middle: RevocationTable
  /// A former ``middle`` that is about to become part of the base.
  let leaving: RevocationTable
  let base: RevocationBase?
  /// What of the old part must not lose its own end and its own moment.
  let exact: RevocationTable
  /// How many revocations there are; what is repeated in several parts counts each time.
  public let count: Int
  /// Whether there is nothing but the two young parts, which is so on most nodes.
  private let isYoung: Bool

  init(
    newest: RevocationTable = RevocationTable(), middle: RevocationTable = RevocationTable(),
    leaving: RevocationTable = RevocationTable(), base: RevocationBase? = nil,
    exact: RevocationTable = RevocationTable()
  ) {
    self.newest = newest
    self.middle = middle
    self.leaving = leaving
    self.base = base
    self.exact = exact
    count = newest.count + middle.count + leaving.count + exact.count + (base?.count ?? 0)
    isYoung = base == nil && leaving.count == 0 && exact.count == 0
  }

  /// Nothing is revoked.
  public convenience init() { self.init(newest: RevocationTable()) }

  /// Whether something that was issued at the second `issued` is revoked at `now`; both count from 1970. What is not known
  /// to have been issued at any moment was issued at 0.
  @inline(__always)
  public func holds(_ mark: RevocationMark, issued: UInt32 = 0, now: UInt32) -> Bool {
    if count == 0 { return false }
    if newest.count > 0, Self.applies(newest.find(mark), issued, now) { return true }
    if Self.applies(middle.find(mark), issued, now) { return true }
    return isYoung ? false : oldHold(mark, issued, now)
  }

  @inline(__always)
  private func oldHold(_ mark: RevocationMark, _ issued: UInt32, _ now: UInt32) -> Bool {
    if let base, base.find(mark) > now { return true }
    if leaving.count > 0, Self.applies(leaving.find(mark), issued, now) { return true }
    return exact.count > 0 && Self.applies(exact.find(mark), issued, now)
  }

  @inline(__always)
  private static func applies(_ slot: RevocationTable.Slot, _ issued: UInt32, _ now: UInt32) -> Bool {
    slot.bits != 0 && slot.expires > now && (slot.issuedBefore == 0 || issued < slot.issuedBefore)
  }

  /// Hands out everything that is not over by `now`; something may be handed out several times.
  /// What is packed comes first and in the same order each time, until it is packed anew.
  public func forEach(now: UInt32, _ body: (Revocation) -> Void) {
    base?.forEach { mark, expires in if expires > now { body(Revocation(mark, expires: expires)) } }
    for table in [exact, leaving, middle, newest] { table.forEach { if $0.expires > now { body($0) } } }
  }

  /// Bytes of memory.
  public var byteCount: Int {
    let slots = newest.slots.count + middle.slots.count + leaving.slots.count + exact.slots.count
    return slots * 16 + (base?.byteCount ?? 0)
  }
}
