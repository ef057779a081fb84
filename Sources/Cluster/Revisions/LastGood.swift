// What a node keeps on its disk, so that it can serve without a store: the last three revisions that it ran. They are read
// back with the same suspicion as what comes from the store.

/// A revision that a node has run: head and body as they were verified.
public struct LastGood: Equatable, Sendable {
  /// How many a node keeps.
  public static let kept = 3
  /// The most bytes of a file.
  public static let limit = SignedHead.limit + RevisionBody.limit + 64

  let head: SignedHead
  let body: [UInt8]

  init(_ head: SignedHead, body: [UInt8]) {
    self.head = head
    self.body = body
  }

  /// What is written to a file. The head's signature covers the body through its name.
  public var bytes: [UInt8] {
    var encoder = RevisionEncoder()
    encoder.mark("SLG1")
    encoder.block(head.bytes)
    encoder.block(body)
    return encoder.bytes
  }

  /// Reads and verifies a file.
  public init(_ bytes: [UInt8], _ secrets: ClusterSecrets) throws(RevisionFault) {
    guard bytes.count <= Self.limit else { throw .tooLarge }
    var decoder = RevisionDecoder(bytes)
    guard decoder.mark("SLG1"), let head = decoder.block(limit: SignedHead.limit),
      let body = decoder.block(limit: RevisionBody.limit), decoder.isAtEnd
    else { throw .malformed }
    self.head = try SignedHead(head, secrets)
    guard RevisionName(of: body) == self.head.head.body else { throw .digest }
    self.body = body
  }
}

extension RevisionCandidate {
  /// What a shelf keeps of it.
  public var lastGood: [UInt8] { LastGood(head, body: bytes).bytes }
}

/// Where a node keeps revisions over a restart. Called on the control loop.
public protocol RevisionShelf: AnyObject {
  /// The contents of all files, at most a dozen, of at most ``LastGood/limit`` bytes each; in any order.
  func load() -> [(name: String, bytes: [UInt8])]
  /// Keeps `bytes` as the newest, and forgets all but the last ``LastGood/kept``. Calls back once they are safe, with
  /// what went wrong or nil; possibly later, on any thread. It is given nothing else before.
  func keep(_ bytes: [UInt8], revision: Int64, done: @escaping @Sendable (String?) -> Void)
}

/// What was found on a shelf.
struct ShelfContents {
  /// What verifies, the newest first.
  private(set) var good: [LastGood] = []
  /// What does not: the file's name, and why.
  private(set) var bad: [(name: String, fault: RevisionFault)] = []

  init(_ files: [(name: String, bytes: [UInt8])], _ secrets: ClusterSecrets) {
    for file in files {
      do throws(RevisionFault) { good.append(try LastGood(file.bytes, secrets)) } catch {
        bad.append((file.name, error))
      }
    }
    good.sort { ($0.head.head.epoch, $0.head.head.revision) > ($1.head.head.epoch, $1.head.head.revision) }
  }
}
