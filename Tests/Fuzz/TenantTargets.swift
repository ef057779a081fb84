import Core
import Gateway

/// What the composer of tenants' texts promises, whatever the bytes.
enum TenantTargets {
  /// What is marked has nothing but the tenant's, can be put into any text and taken out again, and nothing of others is lost.
  @Sendable
  static func text(_ bytes: RawSpan) {
    let all = bytes.array
    // A line of four signs of equality parts what is in force from what is brought along.
    let mark = Array("\n====\n".utf8)
    let cut = all.indices.first { all[$0...].starts(with: mark) } ?? all.count
    let (base, document) = (Array(all[..<cut]), Array(all[min(cut + mark.count, all.count)...]))
    guard let whole = try? TenantText(base), let others = try? names(whole) else { return }
    let removed = check { try whole.replacing(objectsOf: "acme", with: []) }
    guard let removed, let rest = try? TenantText(removed) else { preconditionFailure("taking out breaks the text") }
    precondition((try? rest.objects(of: "acme")) == [] && (try? names(rest)) == others)
    guard let marked = try? TenantText(document).marked(with: "acme") else { return }
    guard let parts = try? TenantText(marked), let fresh = try? parts.objects(of: "acme") else {
      preconditionFailure("marking breaks the text")
    }
    precondition((try? names(parts))?.allSatisfy(\.isEmpty) == true, "something is not marked")
    guard let made = try? whole.replacing(objectsOf: "acme", with: fresh) else { return }
    let outcome = JSONDocument.parse(made)
    // Names may be there twice now; a text that is none may not come about.
    precondition(outcome.document != nil)
    guard outcome.faults.isEmpty, let again = try? TenantText(made) else { return }
    precondition((try? again.objects(of: "acme")) == fresh && (try? names(again)) == others)
    guard let back = try? TenantText(again.replacing(objectsOf: "acme", with: [])) else {
      preconditionFailure("what was put in cannot be taken out")
    }
    precondition((try? names(back)) == others)
  }

  private static func names(_ text: TenantText) throws -> [Set<String>] {
    try TenantSection.allCases.map { try text.otherNames(in: $0, than: "acme") }
  }

  private static func check(_ body: () throws -> [UInt8]) -> [UInt8]? { try? body() }
}
