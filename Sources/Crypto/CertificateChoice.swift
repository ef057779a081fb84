/// Which certificates go with which name: of every kind of key the first that is good for it, exact names before wildcards.
struct CertificateChoice {
  /// The first is that of the first certificate's kind and its companions.
  private(set) var sets: [[TLSCredential]] = []
  private(set) var byName: [String: Int] = [:]
  private(set) var byParent: [String: Int] = [:]

  init(_ credentials: [TLSCredential]) {
    // Where no name decides: the first certificate, and those of other kinds that share a name with it.
    let firstNames = Set(credentials[0].names)
    _ = index(
      of: Self.firstOfEachKind(credentials.filter { $0 === credentials[0] || !firstNames.isDisjoint(with: $0.names) }))
    let names = Set(credentials.flatMap(\.names)).sorted()
    for name in names {
      let exact = credentials.filter { $0.names.contains(name) }
      if name.hasPrefix("*.") {
        byParent[String(name.dropFirst(2))] = index(of: Self.firstOfEachKind(exact))
      } else {
        let wildcard = name.firstIndex(of: ".").map { "*" + name[$0...] } ?? ""
        let covering = credentials.filter { $0.names.contains(wildcard) }
        byName[name] = index(of: Self.firstOfEachKind(exact + covering))
      }
    }
  }

  private static func firstOfEachKind(_ credentials: [TLSCredential]) -> [TLSCredential] {
    var kinds: Set<TLSCredential.Kind> = []
    return credentials.filter { kinds.insert($0.kind).inserted }
  }

  private mutating func index(of set: [TLSCredential]) -> Int {
    if let known = sets.firstIndex(where: { $0.map(ObjectIdentifier.init) == set.map(ObjectIdentifier.init) }) {
      return known
    }
    sets.append(set)
    return sets.count - 1
  }
}
