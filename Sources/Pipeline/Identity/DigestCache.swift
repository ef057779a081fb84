import Crypto

/// What a loop remembers of things that have a SHA-256 digest, each under the rules of one policy: so many at most, and a
/// new one takes the place of what was not used for longest among a few.
///
/// How long something holds is for its users to say, each time. What clients can have remembered without being anybody, such
/// as tokens that are not good, belongs into a cache of its own: there it displaces nothing but its like.
public final class DigestCache<Content: AnyObject & Sendable> {
  @usableFromInline
  struct Entry {
    @usableFromInline let digest: Digest
    /// The policy whose rules it keeps.
    @usableFromInline let policy: ObjectIdentifier
    @usableFromInline let content: Content
    @usableFromInline var usedAt: UInt64

    init(digest: Digest, policy: ObjectIdentifier, content: Content, usedAt: UInt64) {
      (self.digest, self.policy, self.content, self.usedAt) = (digest, policy, content, usedAt)
    }
  }

  /// Places that one digest may be in.
  @usableFromInline static var ways: Int { 4 }

  @usableFromInline var entries: ContiguousArray<Entry?> = []
  @usableFromInline var uses: UInt64 = 0
  private let capacity: Int
  @usableFromInline let mask: UInt64

  /// An empty cache of at most `capacity` things, a power of two and 4 at least. Takes some 60 bytes for each of them with the
  /// first one that comes.
  init(capacity: Int) {
    precondition(capacity >= Self.ways && capacity & (capacity - 1) == 0, "digests are spread over a power of two")
    self.capacity = capacity
    mask = UInt64(capacity / Self.ways - 1)
  }

  /// What is remembered of a digest under the rules of `policy`; nil for what is not there.
  @inlinable
  public func find(_ digest: Digest, of policy: AnyObject) -> Content? {
    if entries.isEmpty { return nil }
    let first = place(of: digest)
    for index in first..<first + Self.ways {
      guard let entry = entries[index], entry.digest == digest, entry.policy == ObjectIdentifier(policy) else {
        continue
      }
      uses += 1
      entries[index]?.usedAt = uses
      return entry.content
    }
    return nil
  }

  /// Remembers something; in the place of what was not used for longest where there is no other.
  public func remember(_ content: Content, _ digest: Digest, of policy: AnyObject) {
    if entries.isEmpty { entries = ContiguousArray(repeating: nil, count: capacity) }
    let first = place(of: digest)
    let policy = ObjectIdentifier(policy)
    var chosen = first
    for index in first..<first + Self.ways {
      guard let entry = entries[index] else {
        chosen = index
        continue
      }
      if entry.digest == digest, entry.policy == policy {
        chosen = index
        break
      }
      if let other = entries[chosen], entry.usedAt < other.usedAt { chosen = index }
    }
    uses += 1
    entries[chosen] = Entry(digest: digest, policy: policy, content: content, usedAt: uses)
  }

  /// Forgets what is remembered of a digest under the rules of `policy`.
  public func forget(_ digest: Digest, of policy: AnyObject) {
    if entries.isEmpty { return }
    let first = place(of: digest)
    for index in first..<first + Self.ways {
      if let entry = entries[index], entry.digest == digest, entry.policy == ObjectIdentifier(policy) {
        entries[index] = nil
      }
    }
  }

  @inlinable
  func place(of digest: Digest) -> Int {
    Int(truncatingIfNeeded: digest.words.0 & mask) * Self.ways
  }
}
