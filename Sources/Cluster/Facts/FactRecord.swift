import Core
import Crypto
import Pipeline

/// What the log of facts says: one thing that is revoked, or one key. As bytes it begins as `facts.lua` reads it.
public enum FactRecord: Equatable, Sendable {
  /// Something is revoked.
  case revocation(RevocationRecord)
  /// How a key stands.
  case key(IssuedKey)

  /// The longest record, in bytes: as in the library.
  static let byteLimit = 4096

  private static let revocationType = UInt8(ascii: "r")
  private static let keyType = UInt8(ascii: "k")

  /// As the log has it.
  public var encoded: [UInt8] {
    var writer = FactWriter()
    switch self {
    case .revocation(let record):
      writer.byte(Self.revocationType)
      writer.integer(record.revocation.mark.bits)
      writer.integer(record.revocation.issuedBefore)
      writer.integer(record.revocation.expires)
      writer.byte(record.kind?.rawValue ?? 0)
      writer.integer(record.revokedAt)
      for text in [record.name, record.reason, record.by] { writer.text(text) }
    case .key(let key):
      writer.byte(Self.keyType)
      writer.integer(key.id.number)
      writer.integer(key.version)
      writer.byte(key.state.rawValue)
      for word in [key.digest.words.0, key.digest.words.1, key.digest.words.2, key.digest.words.3] {
        writer.integer(word.bigEndian)
      }
      for moment in [key.created, key.notBefore, key.expires] { writer.integer(moment) }
      writer.text(key.consumer.id)
      guard let own = key.consumer.own else {
        writer.byte(0)
        break
      }
      // A node that does not know plans yet reads all but the records that have one.
      writer.byte(own.plan == nil ? 1 : 2)
      writer.text(own.tenant ?? "")
      writer.byte(UInt8(clamping: own.groups.count))
      for group in own.groups { writer.text(group) }
      if let plan = own.plan { writer.text(plan) }
    }
    return writer.bytes
  }

  /// The record that `bytes` are; nil for anything else.
  public init?(_ bytes: [UInt8]) {
    guard bytes.count <= Self.byteLimit else { return nil }
    var reader = FactReader(bytes)
    switch reader.byte() {
    case Self.revocationType:
      guard let record = RevocationRecord(&reader) else { return nil }
      self = .revocation(record)
    case Self.keyType:
      guard let key = IssuedKey(&reader) else { return nil }
      self = .key(key)
    default: return nil
    }
    guard reader.isAtEnd else { return nil }
  }
}

/// A revocation with what people want to know of it.
public struct RevocationRecord: Equatable, Sendable {
  /// The longest name and reason, in bytes.
  public static let textBytes = 255

  /// What counts.
  public var revocation: Revocation
  /// What kind of thing is revoked; nil where only its mark came back after a loss.
  public var kind: RevocationKind?
  /// What it is called; empty where that is not known any more.
  public var name: String
  /// Why.
  public var reason: String
  /// Who did it.
  public var by: String
  /// When, in seconds since 1970.
  public var revokedAt: UInt32

  /// A record of these parts.
  public init(
    _ revocation: Revocation, kind: RevocationKind? = nil, name: String = "", reason: String = "", by: String = "",
    revokedAt: UInt32 = 0
  ) {
    self.revocation = revocation
    self.kind = kind
    self.name = name
    self.reason = reason
    self.by = by
    self.revokedAt = revokedAt
  }

  fileprivate init?(_ reader: inout FactReader) {
    guard let mark = RevocationMark(bits: reader.integer()) else { return nil }
    let issuedBefore: UInt32 = reader.integer()
    revocation = Revocation(mark, expires: reader.integer(), issuedBefore: issuedBefore)
    let number = reader.byte()
    kind = RevocationKind(rawValue: number)
    if kind == nil && number != 0 { return nil }
    revokedAt = reader.integer()
    name = reader.text()
    reason = reader.text()
    by = reader.text()
  }
}

extension IssuedKey {
  fileprivate init?(_ reader: inout FactReader) {
    guard let id = KeyID(number: reader.integer()) else { return nil }
    let version: UInt64 = reader.integer()
    guard let state = State(rawValue: reader.byte()) else { return nil }
    func word() -> UInt64 { UInt64(bigEndian: reader.integer()) }
    let digest = Digest(words: (word(), word(), word(), word()))
    let (created, notBefore, expires): (UInt32, UInt32, UInt32) = (reader.integer(), reader.integer(), reader.integer())
    var consumer = KeyConsumer(id: reader.text())
    guard Self.isName(consumer.id) else { return nil }
    let form = reader.byte()
    switch form {
    case 0: break
    case 1, 2:
      let tenant = reader.text()
      let count = Int(reader.byte())
      guard count <= Self.groupCount, tenant.isEmpty || Self.isName(tenant) else { return nil }
      let groups = (0..<count).map { _ in reader.text() }
      guard groups.allSatisfy(Self.isName) else { return nil }
      let plan = form == 2 ? reader.text() : nil
      guard plan.map(Self.isName) ?? true else { return nil }
      consumer.own = KeyConsumer.Own(tenant: tenant.isEmpty ? nil : tenant, groups: groups, plan: plan)
    default: return nil
    }
    self.init(
      id: id, version: version, digest: digest, consumer: consumer, state: state, created: created,
      notBefore: notBefore, expires: expires)
  }

  /// Whether a text can be the name of a consumer, a tenant or a group: as in a configuration.
  public static func isName(_ text: String) -> Bool {
    func isLetterOrDigit(_ byte: UInt8) -> Bool {
      (97...122).contains(byte | 0x20) || (48...57).contains(byte)
    }
    guard let first = text.utf8.first, isLetterOrDigit(first), text.utf8.count <= nameBytes else { return false }
    return text.utf8.allSatisfy { isLetterOrDigit($0) || $0 == 45 || $0 == 46 || $0 == 95 }
  }
}

/// Writes numbers most significant byte first, and texts of at most 255 bytes behind their length.
struct FactWriter {
  private(set) var bytes: [UInt8] = []

  mutating func byte(_ value: UInt8) { bytes.append(value) }

  mutating func integer<Number: FixedWidthInteger & UnsignedInteger>(_ value: Number) {
    for shift in stride(from: Number.bitWidth - 8, through: 0, by: -8) {
      bytes.append(UInt8(truncatingIfNeeded: value >> Number(shift)))
    }
  }

  mutating func text(_ text: String) {
    let utf8 = text.utf8.prefix(255)
    bytes.append(UInt8(utf8.count))
    bytes.append(contentsOf: utf8)
  }

  mutating func append(_ more: [UInt8]) { bytes += more }
}

/// Reads what a ``FactWriter`` wrote. Behind the end everything is zero and empty, and ``isAtEnd`` is never true again.
struct FactReader {
  private let bytes: [UInt8]
  private var place = 0
  private var isOver = false

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var isAtEnd: Bool { place == bytes.count && !isOver }
  var rest: Int { bytes.count - place }

  mutating func byte() -> UInt8 {
    guard place < bytes.count else {
      isOver = true
      return 0
    }
    place += 1
    return bytes[place - 1]
  }

  mutating func integer<Number: FixedWidthInteger & UnsignedInteger>() -> Number {
    var value: Number = 0
    for _ in 0..<Number.bitWidth / 8 { value = value << 8 | Number(truncatingIfNeeded: byte()) }
    return value
  }

  mutating func take(_ count: Int) -> [UInt8] {
    guard count <= rest else {
      isOver = true
      place = bytes.count
      return []
    }
    place += count
    return Array(bytes[(place - count)..<place])
  }

  /// Empty also where the bytes are no UTF-8, and then nothing is right.
  mutating func text() -> String {
    let bytes = take(Int(byte()))
    guard let text = String(validating: bytes, as: UTF8.self) else {
      isOver = true
      return ""
    }
    return text
  }
}
