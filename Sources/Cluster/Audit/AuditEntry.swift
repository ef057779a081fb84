import Core
import Crypto

/// Something that somebody changed in a cluster, or was refused to change.
public struct AuditEntry: Equatable, Sendable {
  /// How it ended.
  public enum Outcome: String, Sendable {
    /// It was done.
    case done
    /// It was refused, and nothing has changed.
    case refused
    /// Nobody knows: there was no answer in time.
    case unanswered
  }

  /// The most bytes of one text; the rest is cut off.
  static let textBytes = 4096

  /// Who: the name of a token, or "cluster" for what nodes do by themselves; empty where nobody was recognised.
  public var actor: String
  /// The actor's role; empty where there is none.
  public var role = ""
  /// The tenant that the actor belongs to; empty for none.
  public var tenant = ""
  /// What was asked for: the name of an operation.
  public var action: String
  /// To what: a revision, a key, a name.
  public var target = ""
  /// How it ended.
  public var outcome = Outcome.done
  /// Why it was refused, or was done.
  public var reason = ""
  /// What was in force before, as far as it is no secret.
  public var before = ""
  /// What is in force now.
  public var after = ""
  /// The name of the request, as in problem documents; empty for what was no request.
  public var decision = ""
  /// How many alike this line stands for.
  public var count = 1

  /// An entry about what `actor` did.
  public init(actor: String, action: String) {
    self.actor = actor
    self.action = action
  }

  /// The entry as a line of the log, without a line end: a JSON object whose last members chain and sign it.
  func line(at place: AuditPlace, time: WallTime, node: String, secrets: ClusterSecrets) -> [UInt8] {
    let buffer = ByteBuffer()
    var json = JSONWriter(buffer)
    json.beginObject()
    json.key("sequence")
    json.integer(place.sequence)
    let texts = [
      ("time", CivilDate(time).rfc3339), ("node", node), ("actor", actor), ("role", role), ("tenant", tenant),
      ("action", action),
      ("target", target),
      ("outcome", outcome.rawValue), ("reason", reason), ("before", before), ("after", after), ("decision", decision),
    ]
    for (name, text) in texts where !text.isEmpty {
      json.key(name)
      json.string(Self.shortened(text))
    }
    if count > 1 {
      json.key("count")
      json.integer(Int64(count))
    }
    json.key("previous")
    json.string(place.previous)
    var line = buffer.array
    let signature = secrets.sign(line, for: .audit)
    line += Array(AuditLine.signatureMark.utf8) + Array(Base64.encode(signature).utf8) + Array("\"}".utf8)
    return line
  }

  private static func shortened(_ text: String) -> String {
    guard text.utf8.count > textBytes else { return text }
    return String(decoding: text.utf8.prefix(textBytes - 3), as: UTF8.self) + "…"
  }
}

/// Where a line stands in the chain.
struct AuditPlace: Equatable {
  /// From 1.
  var sequence: Int64
  /// The digest of the line before it in hexadecimal; empty for the first.
  var previous: String
}

/// A line of the audit log, as far as the chain is concerned.
struct AuditLine {
  static let signatureMark = ",\"signature\":\""

  let place: AuditPlace
  /// The digest that the next line holds.
  let digest: String
  /// What is signed.
  let signed: [UInt8]
  let signature: [UInt8]

  /// The parts of a line; nil where it is none.
  init?(_ line: [UInt8]) {
    let end = Array("\"}".utf8)
    let mark = Array(Self.signatureMark.utf8)
    // The mark ends as the line does, with a quotation mark: they may be one.
    guard line.suffix(end.count).elementsEqual(end), let start = line.lastIndex(of: mark),
      start + mark.count <= line.count - end.count
    else { return nil }
    let text = String(decoding: line[(start + mark.count)..<(line.count - end.count)], as: UTF8.self)
    guard let signature = Base64.decode(text), let root = JSONDocument.parse(line, dialect: .strict).document?.root,
      let sequence = root["sequence"]?.integer, sequence > 0, let previous = root["previous"]?.string
    else { return nil }
    place = AuditPlace(sequence: sequence, previous: previous)
    digest = Self.digest(of: line)
    signed = Array(line[..<start])
    self.signature = signature
  }

  static func digest(of line: [UInt8]) -> String { SHA256().digest(of: RawSpan(line)).hexadecimal }
}

extension [UInt8] {
  /// Where `part` begins for the last time.
  fileprivate func lastIndex(of part: [UInt8]) -> Int? {
    guard count >= part.count else { return nil }
    return (0...(count - part.count)).last { self[$0..<($0 + part.count)].elementsEqual(part) }
  }
}
