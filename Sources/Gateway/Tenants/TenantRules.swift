import Core
import Pipeline

/// What a tenant's own operator may say, beyond what holds for everybody who writes of the tenant: what would lend its
/// consumers or routes more than the tenant was given is for those who are of no tenant.
struct TenantRules {
  let spec: TenantSpec
  /// What the tenant has: what stands there already may stay.
  let present: [TenantObject]
  /// Whether another tenant has a consumer of this name that the configuration does not know.
  let isTaken: (String) -> Bool

  /// The members of a consumer that its tenant's operator writes.
  private static let members = ["id", "tenant", "groups", "keys"]

  func check(_ fresh: [TenantObject]) throws(TenantFault) {
    if !spec.hasPlace, fresh.contains(where: { $0.section == .routes }) {
      throw .refused("The tenant has neither hosts nor paths, and so no place for routes.")
    }
    for object in fresh where object.section == .consumers { try checkConsumer(object) }
  }

  private func checkConsumer(_ object: TenantObject) throws(TenantFault) {
    guard let root = JSONDocument.parse(object.text).document?.root else { return }
    let before = present.first { $0.section == .consumers && $0.name == object.name }
      .flatMap { JSONDocument.parse($0.text).document?.root }
    if before == nil, isTaken(object.name) { throw .refused("The name \"\(object.name)\" is taken.") }
    for member in root.members {
      let name = member.key.string ?? ""
      if Self.members.contains(name) || before?[name]?.sourceText == member.value.sourceText { continue }
      throw .refused("What \"\(name)\" says of the consumer \"\(object.name)\" is not the tenant's to say.")
    }
    let had = Set((before?["groups"]?.elements ?? []).compactMap(\.string))
    for group in root["groups"]?.elements ?? [] {
      guard let group = group.string, spec.groups.contains(group) || had.contains(group) else {
        throw .refused("The consumer \"\(object.name)\" may not be in a group that is not among the tenant's groups.")
      }
    }
  }
}
