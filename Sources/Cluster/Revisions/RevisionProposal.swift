import Core

/// What somebody wants to be the next revision.
public struct RevisionDraft: Equatable, Sendable {
  /// What is wanted.
  public enum Wish: Equatable, Sendable {
    /// This configuration.
    case apply(RevisionBody)
    /// What an earlier revision said.
    case rollBack(to: Int64)
  }

  /// What is wanted.
  public var wish: Wish
  /// The revision that it was made for; nil where whatever is in force may be replaced.
  public var base: Int64?
  /// Who wants it.
  public var author: String
  /// Why.
  public var message: String
  /// How many nodes have it first; 0 for all at once.
  public var stage = 0
  /// How long they have it alone, in milliseconds.
  public var holdMilliseconds: Int64 = 0
  /// At how many nodes that refuse it the leader goes back.
  public var tolerance: Int64 = 1

  /// A wish. What is too long of author and message is cut off.
  public init(_ wish: Wish, base: Int64?, author: String, message: String) {
    self.wish = wish
    self.base = base
    self.author = Self.cut(author, to: RevisionHead.longestAuthor)
    self.message = Self.cut(message, to: RevisionHead.longestMessage)
  }

  /// The beginning of `text`, in whole characters and at most so many bytes.
  static func cut(_ text: String, to limit: Int) -> String {
    var text = text
    while text.utf8.count > limit { text.removeLast() }
    return text
  }
}

/// What became of a draft.
public enum RevisionOutcome: Equatable, Sendable {
  /// It is the revision of this number.
  case published(Int64)
  /// Not what it was made for is in force, but this revision; 0 for none.
  case conflict(current: Int64)
  /// It cannot be, for this reason.
  case refused(String)
  /// Nobody has decided yet: the draft waits for a leader under this name.
  case waiting(String)
  /// The store cannot be asked.
  case unavailable
  /// Nobody knows of a draft of that name.
  case unknown

  /// Reads what the library says of a proposal.
  init(_ text: String, id: String) {
    let words = text.split(separator: " ", maxSplits: 1).map(String.init)
    switch (words.first, words.count > 1 ? Int64(words[1]) : nil) {
    case ("published", let revision?): self = .published(revision)
    case ("conflict", let revision?): self = .conflict(current: revision)
    case ("refused", _) where words.count > 1: self = .refused(words[1])
    case ("waiting", _): self = .waiting(id)
    default: self = .unknown
    }
  }

  /// What the library keeps for those who ask.
  var text: String {
    switch self {
    case .published(let revision): "published \(revision)"
    case .conflict(let revision): "conflict \(revision)"
    case .refused(let reason): "refused \(reason)"
    case .waiting: "waiting"
    case .unavailable, .unknown: "unknown"
    }
  }
}

/// A draft on its way through the store to the leader, with a code that proves that a member made it.
public struct RevisionProposal: Equatable {
  enum Kind: UInt8 { case apply = 1, seed, rollBack, restore }

  var id: String
  var kind: Kind
  /// −1 for any.
  var base: Int64
  var body: RevisionName
  var origin: Int64 = 0
  var author: String
  var message: String
  var stage: Int64 = 0
  var holdMilliseconds: Int64 = 0
  var tolerance: Int64 = 1
  /// The head that a node knows and the store has lost; empty unless ``kind`` is `restore`.
  var lost: [UInt8] = []

  init(
    id: String, _ kind: Kind, base: Int64, body: RevisionName, author: String, message: String
  ) {
    (self.id, self.kind, self.base, self.body) = (id, kind, base, body)
    (self.author, self.message) = (author, message)
  }

  init(id: String, _ draft: RevisionDraft, _ kind: Kind, body: RevisionName) {
    self.init(
      id: id, kind, base: draft.base ?? -1, body: body, author: draft.author, message: draft.message)
    (stage, holdMilliseconds, tolerance) = (Int64(draft.stage), draft.holdMilliseconds, draft.tolerance)
  }

  /// What is stored: its fields and the code.
  public func encoded(_ secrets: ClusterSecrets) -> [UInt8] {
    var encoder = RevisionEncoder()
    encoder.mark("SLP1")
    encoder.text(id)
    encoder.number(kind.rawValue)
    encoder.number(base)
    encoder.plain(body.bytes)
    encoder.number(origin)
    encoder.text(author)
    encoder.text(message)
    encoder.number(stage)
    encoder.number(holdMilliseconds)
    encoder.number(tolerance)
    encoder.block(lost)
    return encoder.bytes + secrets.code(of: encoder.bytes, for: .head)
  }

  /// Reads a proposal; nil for what no member made.
  public init?(_ bytes: [UInt8], _ secrets: ClusterSecrets) {
    let end = bytes.count - 32
    guard end > 0, bytes.count <= 2 * SignedHead.limit else { return nil }
    let content = Array(bytes[..<end])
    guard secrets.matches(content, code: Array(bytes[end...]), for: .head) else { return nil }
    var decoder = RevisionDecoder(content)
    guard decoder.mark("SLP1"), let id = decoder.text(limit: 64),
      let kind = decoder.number(UInt8.self).flatMap(Kind.init), let base = decoder.number(Int64.self),
      let body = decoder.name(), let origin = decoder.number(Int64.self),
      let author = decoder.text(limit: RevisionHead.longestAuthor),
      let message = decoder.text(limit: RevisionHead.longestMessage), let stage = decoder.number(Int64.self),
      let hold = decoder.number(Int64.self), let tolerance = decoder.number(Int64.self),
      let lost = decoder.block(limit: SignedHead.limit), decoder.isAtEnd
    else { return nil }
    self.init(id: id, kind, base: base, body: body, author: author, message: message)
    (self.origin, self.stage, holdMilliseconds, self.tolerance, self.lost) = (origin, stage, hold, tolerance, lost)
  }
}
