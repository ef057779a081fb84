/// The library of what nodes agree on, `gwcl_1`: several files that are one program. The first one has the helpers, the last
/// one the entry; those between add verbs.
public enum AgreementLibrary {
  /// The library that this program speaks.
  public static let current = StoreLibrary(
    name: "gwcl_1",
    source: [
      PackageResources.agreement_lua, PackageResources.leader_lua, PackageResources.members_lua,
      PackageResources.revisions_lua, PackageResources.audit_lua, PackageResources.facts_lua,
      PackageResources.register_lua,
    ].map { String(decoding: $0, as: UTF8.self) }.joined(separator: "\n"))
}
