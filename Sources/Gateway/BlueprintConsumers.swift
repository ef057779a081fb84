import Core
import Crypto
import Pipeline

/// The members of `consumers`, with every name and every key checked to be there only once.
struct ConsumerDirectory {
  private(set) var consumers: [Consumer] = []

  /// Places of what must be unique, for the message about the second one.
  private var consumerNames: Set<String> = []
  private var digests: Set<DigestKey> = []
  /// Ten thousand consumers share a few combinations of groups: each is kept once.
  private var groupLists: [[String]: [String]] = [:]
  /// The plans that consumers have, each with the position of the first who has it.
  private(set) var plans: [(name: String, position: Int)] = []
  private var planNames: Set<String> = []

  /// The first 128 bits of a digest: where those are the same, all is, or it is nobody's digest.
  private struct DigestKey: Hashable {
    let first: UInt64
    let second: UInt64

    init(_ digest: Digest) { (first, second) = (digest.words.0, digest.words.1) }
  }

  init() {}

  mutating func read(_ options: inout OptionReader, _ tenants: TenantDirectory) {
    consumers = options.objects("consumers", "Who may call, and their keys.") { consumer(&$0, tenants) }
  }

  private mutating func consumer(_ options: inout OptionReader, _ tenants: TenantDirectory) -> Consumer {
    let id = options.identifier("The name in limits, logs and metrics.")
    if !id.isEmpty, !consumerNames.insert(id).inserted { options.failTwice("consumer", id) }
    let tenant = options.owner(tenants, "The tenant it belongs to, one of those under tenants.")?.id
    let groups = options.valueList(
      "groups", .identifier, "Groups it is in; limits per group count under the first."
    ) { OptionFormat.identifier($0) }
    let known = groupLists[groups] ?? groups
    groupLists[groups] = known
    let plan = options.optionalString("plan", "Its usage plan, one of a policy of the type plan.")
    if let plan, planNames.insert(plan).inserted { plans.append((plan, options.position)) }
    return Consumer(id: id, tenant: tenant, groups: known, plan: plan, keys: keys(&options))
  }

  private mutating func keys(_ options: inout OptionReader) -> [ConsumerKey] {
    var names: Set<String> = []
    return options.objects("keys", "Its keys. Several are valid side by side, so that a key can be replaced in peace.")
    {
      key in
      let id = key.identifier("The name of the key in logs; not the key.")
      if !id.isEmpty, !names.insert(id).inserted { key.failTwice("key", id) }
      let digest = key.value("sha256", .digest, placeholder: Digest?.none, Self.digestHelp) { Digest(hexadecimal: $0) }
      let notBefore = key.optionalValue("notBefore", .moment, "The first moment at which it is valid.") {
        WallTime(rfc3339: $0)
      }
      let expires = key.optionalValue("expires", .moment, "The first moment at which it is no longer valid.") {
        WallTime(rfc3339: $0)
      }
      if let notBefore, let expires, expires <= notBefore {
        key.fail("the key expires before it is valid", at: "expires", fix: "make it later than notBefore")
      }
      guard let digest else { return nil }
      if !digests.insert(DigestKey(digest)).inserted {
        key.fail("another key has this digest: nobody could say whose it is", at: "sha256", fix: "make a new key")
      }
      return ConsumerKey(id: id, digest: digest, notBefore: notBefore, expires: expires)
    }
  }

  private static let digestHelp =
    "SHA-256 of the key in hexadecimal; from a shell: printf %s \"$KEY\" | sha256sum. The key itself stands nowhere."

  /// The ring of all keys; nil after an error.
  func keyRing() -> KeyRing? {
    do throws(KeyRingError) { return try KeyRing(consumers) } catch { return nil }
  }
}

extension OptionReader {
  /// The option `id`.
  mutating func identifier(_ help: String) -> String {
    value("id", .identifier, placeholder: "", help) { OptionFormat.identifier($0) }
  }

  mutating func failTwice(_ kind: String, _ id: String) {
    fail("the \(kind) \"\(id)\" is there for the second time", at: "id", fix: "rename one of the two, or remove it")
  }
}

extension OptionFormat {
  static let digest = OptionFormat(
    "64 hexadecimal digits", example: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    pattern: "^[0-9A-Fa-f]{64}$", hidesMistakes: true)
  static let moment = OptionFormat(
    "a moment as RFC 3339 writes it", example: "2026-03-01T09:30:00Z", pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T.*)?$")
}
