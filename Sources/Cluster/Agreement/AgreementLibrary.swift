import Core

/// The library of what nodes agree on: several files that are one program. The first one has the helpers, the last one the
/// entry; those between add verbs.
///
/// Its name ends in the digest of its text, so that nodes of two versions each call their own while a cluster is upgraded,
/// and none finds an older one in a store that has been used before. They work on the same keys.
public enum AgreementLibrary {
  private static let nameMark = "gwcl_NAME"

  /// The library that this program speaks.
  public static let current = made(
    of: [
      PackageResources.agreement_lua, PackageResources.leader_lua, PackageResources.members_lua,
      PackageResources.revisions_lua, PackageResources.audit_lua, PackageResources.facts_lua,
      PackageResources.records_lua, PackageResources.register_lua,
    ].map { String(decoding: $0, as: UTF8.self) }.joined(separator: "\n"))

  /// The library of this text, in which `gwcl_NAME` stands for its name.
  static func made(of text: String) -> StoreLibrary {
    let name = "gwcl_" + String(decoding: StoreLibrary.digest(of: text).prefix(8), as: UTF8.self)
    return StoreLibrary(name: name, source: text.replacing(nameMark, with: name))
  }
}
