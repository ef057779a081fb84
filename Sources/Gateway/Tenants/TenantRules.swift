import Core
import Pipeline

/// What a tenant's own operator may say, beyond what holds for everybody who writes of the tenant: what would lend its
/// consumers or routes more than the tenant was given is for those who are of no tenant.
struct TenantRules {
  let spec: TenantSpec
  /// What the tenant has: what stands there already may stay.
  let present: [TenantObject]
  /// What consumers of others are called that the configuration does not know.
  let takenNames: () -> Set<String>

  /// The members of a consumer that its tenant's operator writes.
  private static let members = ["id", "tenant", "groups", "keys"]

  func check(_ fresh: [TenantObject]) throws(TenantFault) {
    if !spec.hasPlace, fresh.contains(where: { $0.section == .routes }) {
      throw .refused("The tenant has neither hosts nor paths, and so no place for routes.")
    }
    let consumers = fresh.filter { $0.section == .consumers }
    let before = Dictionary(present.filter { $0.section == .consumers }.map { ($0.name, $0) }) { first, _ in first }
    if consumers.contains(where: { before[$0.name] == nil }) {
      let taken = takenNames()
      for object in consumers where before[object.name] == nil && taken.contains(object.name) {
        throw .refused("The name \"\(object.name)\" is taken.")
      }
    }
    for object in consumers { try checkConsumer(object, before[object.name]) }
  }

  private func checkConsumer(_ object: TenantObject, _ former: TenantObject?) throws(TenantFault) {
    guard let root = JSONDocument.parse(object.text).document?.root else { return }
    let before = former.flatMap { JSONDocument.parse($0.text).document?.root }
    for member in root.members {
      let name = member.key.string ?? ""
      if Self.members.contains(name) { continue }
      // What is referred to comes with the change: the same reference may say something else.
      let isReference = OptionReader.reference(member.value) != nil
      if !isReference, before?[name]?.sourceText == member.value.sourceText { continue }
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
