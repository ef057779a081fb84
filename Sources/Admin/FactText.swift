import Cluster
import Core
import Pipeline

/// Keys and revocations as the admin API writes them.
enum FactText {
  static func write(_ key: IssuedKey, to json: inout JSONWriter) {
    json.beginObject()
    writeMembers(key, to: &json)
    json.endObject()
  }

  static func writeMembers(_ key: IssuedKey, to json: inout JSONWriter) {
    json.key("id")
    json.string(key.id.text)
    json.key("consumer")
    json.string(key.consumer.id)
    json.key("own")
    json.bool(key.consumer.own != nil)
    json.key("tenant")
    if let tenant = key.consumer.own?.tenant { json.string(tenant) } else { json.null() }
    json.key("groups")
    json.beginArray()
    for group in key.consumer.own?.groups ?? [] { json.string(group) }
    json.endArray()
    if let plan = key.consumer.own?.plan {
      json.key("plan")
      json.string(plan)
    }
    json.key("state")
    json.string("\(key.state)")
    json.key("created")
    write(key.created, to: &json)
    json.key("notBefore")
    if key.notBefore == 0 { json.null() } else { write(key.notBefore, to: &json) }
    json.key("expires")
    if key.expires == .max { json.null() } else { write(key.expires, to: &json) }
  }

  static func writeMembers(_ record: RevocationRecord, to json: inout JSONWriter) {
    json.key("kind")
    if let kind = record.kind { json.string(kind.name) } else { json.null() }
    json.key("id")
    if record.kind == nil { json.null() } else { json.string(record.name) }
    json.key("mark")
    json.string(String(record.revocation.mark.bits, radix: 16))
    json.key("issuedBefore")
    let moment = record.revocation.issuedBefore
    if moment == 0 || moment == .max { json.null() } else { write(moment, to: &json) }
    json.key("expires")
    if record.revocation.expires == .max { json.null() } else { write(record.revocation.expires, to: &json) }
    json.key("reason")
    json.string(record.reason)
    json.key("by")
    json.string(record.by)
    json.key("revoked")
    if record.revokedAt == 0 { json.null() } else { write(record.revokedAt, to: &json) }
  }

  /// The member `receipt` where nodes were waited for.
  static func write(_ receipt: FactReceipt?, to json: inout JSONWriter) {
    guard let receipt else { return }
    json.key("receipt")
    json.beginObject()
    json.key("nodes")
    json.integer(Int64(receipt.nodes))
    json.key("of")
    json.integer(Int64(receipt.of))
    json.key("milliseconds")
    json.integer(receipt.milliseconds)
    json.key("missing")
    json.beginArray()
    for name in receipt.missing { json.string(name) }
    json.endArray()
    json.endObject()
  }

  /// A key in a few words, for the audit log.
  static func summary(_ key: IssuedKey) -> String {
    "\(key.consumer.id), \(key.state)\(key.expires == .max ? "" : ", expires \(text(key.expires))")"
  }

  private static func write(_ seconds: UInt32, to json: inout JSONWriter) { json.string(text(seconds)) }

  private static func text(_ seconds: UInt32) -> String {
    CivilDate(WallTime(microseconds: Int64(seconds) * 1_000_000)).rfc3339
  }
}

/// The body of a request about keys or revocations: an object with none but known members.
struct FactBody {
  private let root: JSONValue?

  /// Nil where the body is no such object. Without a body there are no members.
  init?(_ request: AdminRequest, _ names: Set<String>) {
    if request.body.isEmpty {
      root = nil
      return
    }
    guard let root = JSONDocument.parse(request.body, dialect: .strict).document?.root, root.kind == .object else {
      return nil
    }
    var seen: Set<String> = []
    for member in root.members {
      guard let name = member.key.string, names.contains(name), seen.insert(name).inserted else { return nil }
    }
    self.root = root
  }

  var isEmpty: Bool { root?.count ?? 0 == 0 }

  func has(_ name: String) -> Bool { root?[name] != nil }

  /// A text that fits a record; nil for anything else, and where there is none.
  func text(_ name: String) -> String? {
    guard let text = root?[name]?.string, text.utf8.count <= RevocationRecord.textBytes else { return nil }
    return text.utf8.contains { $0 < 32 || $0 == 127 } ? nil : text
  }

  /// A moment in seconds, `standard` where it is left out or null; nil where it is none.
  func moment(_ name: String, otherwise standard: UInt32) -> UInt32? {
    guard let value = root?[name] else { return standard }
    if value.kind == .null { return standard == 0 ? 0 : .max }
    guard let text = value.string, let time = WallTime(rfc3339: text), time.seconds > 0 else { return nil }
    return UInt32(exactly: time.seconds)
  }

  /// A duration in seconds, `standard` where it is left out; nil where it is none.
  func seconds(_ name: String, otherwise standard: UInt32) -> UInt32? {
    guard let value = root?[name] else { return standard }
    guard let duration = value.string.flatMap({ Duration(text: $0) }), duration >= .zero else { return nil }
    return UInt32(exactly: duration.components.seconds)
  }

  func state(_ name: String, otherwise standard: IssuedKey.State) -> IssuedKey.State? {
    guard let value = root?[name] else { return standard }
    switch value.string {
    case "active": return .active
    case "disabled": return .disabled
    default: return nil
    }
  }

  /// The name of a consumer that the configuration knows, or an object that says what it is.
  func consumer(_ name: String) -> KeyConsumer? {
    guard let value = root?[name] else { return nil }
    if let id = value.string { return IssuedKey.isName(id) ? KeyConsumer(id: id) : nil }
    guard let id = value["id"]?.string, IssuedKey.isName(id),
      value.members.allSatisfy({ ["id", "tenant", "groups", "plan"].contains($0.key.string) })
    else { return nil }
    var own = KeyConsumer.Own()
    if let tenant = value["tenant"], tenant.kind != .null {
      guard let text = tenant.string, IssuedKey.isName(text) else { return nil }
      own.tenant = text
    }
    if let plan = value["plan"], plan.kind != .null {
      guard let text = plan.string, IssuedKey.isName(text) else { return nil }
      own.plan = text
    }
    if let groups = value["groups"] {
      let names = groups.elements.compactMap(\.string)
      guard groups.kind == .array, names.count == groups.count, names.count <= IssuedKey.groupCount,
        names.allSatisfy(IssuedKey.isName)
      else { return nil }
      own.groups = names
    }
    return KeyConsumer(id: id, own: own)
  }
}
