// How what a tenant's operator brings along becomes the text of a revision.
//
// The whole is compiled like any other revision. Before that the tenant's part is compiled by itself, with nothing beside it
// but what it may use: whatever there is to say of it is said from there, so that no answer can tell anything of others. What
// goes wrong only with the others beside it is refused without a word on them.

import Cluster
import Core
import Crypto
import Pipeline

/// Why nothing is done for a tenant.
public enum TenantFault: Error, Sendable {
  /// The cluster's configuration cannot be read or changed.
  case service(ConfigurationService.Fault)
  /// There is no such tenant.
  case unknown
  /// There is no revision.
  case noRevision
  /// What belongs to the tenant is not what the change was made for.
  case otherDocument
  /// A change is being tried out on some nodes.
  case staged
  /// What is brought along has errors; the places are those of its own text.
  case invalid([Diagnostic])
  /// It cannot be, for this reason, a sentence.
  case refused(String)
}

/// A change of what belongs to a tenant. Some 20 µs a route of the whole configuration; for a thread that nobody waits for.
struct TenantChange {
  /// Whose it is.
  let tenant: String
  /// All that is to belong to the tenant, and what it refers to.
  let document: ConfigurationService.Text
  /// The tag of what it was made for; nil for any.
  let tag: String?
  let own: NodeSections
  /// What consumers of others are called that the configuration does not know.
  let takenNames: @Sendable () -> Set<String>

  /// What has come of it.
  struct Made {
    let body: RevisionBody
    let changes: [PlanChange]
    let tag: String
  }

  /// What names the objects of a tenant as they are: a change of them that was made for others has another one.
  static func tag(of objects: [TenantObject]) -> String {
    String(SHA256().digest(of: RawSpan(TenantText.document(objects))).hexadecimal.prefix(32))
  }

  /// The text of `base` with the tenant's objects in place of those that it has.
  func made(from base: RevisionBody) throws(TenantFault) -> Made {
    let (old, present) = try Self.read(base, of: tenant)
    guard let entry = old.entry(of: tenant) else { throw .unknown }
    if let tag, tag != Self.tag(of: present) { throw .otherDocument }
    guard document.text.count <= TenantText.longestDocument else {
      throw .refused("A tenant's objects have \(TenantText.longestDocument) bytes at most.")
    }
    let (marked, fresh) = try freshObjects()
    guard let spec = Self.spec(entry, base) else { throw .unknown }
    try TenantRules(spec: spec, present: present, takenNames: takenNames).check(fresh)
    do throws(TenantTextFault) {
      for section in TenantSection.allCases {
        let others = try old.otherNames(in: section, than: tenant)
        if let name = fresh.first(where: { $0.section == section && others.contains($0.name) })?.name {
          throw TenantTextFault.shape(name)
        }
      }
    } catch {
      if case .shape(let name) = error { throw .refused("The name \"\(name)\" is taken.") }
      throw .refused(Self.unreadable)
    }
    let secrets = try secrets(for: fresh, instead: present, in: base, old, entry)
    try checkAlone(marked, spec, entry, base, old, secrets)
    return try whole(fresh, base, old, secrets)
  }

  private static let unreadable = "What is in force cannot be taken apart by this version."

  /// The text in force, and what of it is the tenant's.
  static func read(_ base: RevisionBody, of tenant: String) throws(TenantFault) -> (TenantText, [TenantObject]) {
    do throws(TenantTextFault) {
      let text = try TenantText(base.text)
      return (text, try text.objects(of: tenant))
    } catch { throw .refused(unreadable) }
  }

  /// The objects of the document, marked, and the document as it then is.
  private func freshObjects() throws(TenantFault) -> (text: [UInt8], objects: [TenantObject]) {
    do throws(TenantTextFault) {
      let marked = try TenantText(document.text).marked(with: tenant)
      return (marked, try TenantText(marked).objects(of: tenant))
    } catch {
      switch error {
      case .malformed(let faults):
        let session = OptionSession(text: document.text) { _ in .failure(SecretFault("")) }
        for fault in faults { session.record(fault) }
        throw .invalid(session.diagnostics)
      case .shape(let what): throw .refused("There is something of another kind than it should be: \(what).")
      case .section(let name):
        throw .refused("A tenant has consumers, upstreams, policies and routes, but no \"\(name)\".")
      case .mark(let section, let name):
        throw .refused("In \(section.rawValue) \"\(name)\" is marked as somebody else's.")
      case .kind(let name):
        throw .refused("Policies of the type of \"\(name)\" cannot have a name here: put it into its routes.")
      }
    }
  }

  private static func spec(_ entry: [UInt8], _ base: RevisionBody) -> TenantSpec? {
    let text = Array("{ \"tenants\": [".utf8) + entry + Array("\n] }".utf8)
    let session = OptionSession(text: text, secrets: base.resolver)
    return session.readDocument(text) { TenantDirectory(&$0).all.first }
  }

  // MARK: References

  /// Resolves what the new text refers to: what is not the tenant's by what is in force alone, what is the tenant's by what
  /// came along, or else by what the tenant's own objects stood for.
  private func secrets(
    for fresh: [TenantObject], instead present: [TenantObject], in base: RevisionBody, _ old: TenantText,
    _ entry: [UInt8]
  ) throws(TenantFault) -> SecretResolver {
    let rest: [UInt8]
    do throws(TenantTextFault) { rest = try old.replacing(objectsOf: tenant, with: []) } catch {
      throw .refused(Self.unreadable)
    }
    let resolver: SecretResolver = { [document] in
      (document.values[$0] ?? base.values[$0]).map { .success($0) } ?? .failure(SecretFault("there is none"))
    }
    let tenants = Array("\n  \"tenants\": [".utf8) + entry + Array("\n],".utf8)
    func all(of objects: [TenantObject]) -> Set<SecretSource> {
      let text = TenantText.document(objects)
      let whole = (try? TenantText(text).replacing(objectsOf: nil, with: [], adding: tenants)) ?? text
      return TenantReferences.all(in: whole, own, resolver)
    }
    let others = TenantReferences.all(in: rest, own, resolver)
    let none = all(of: [])
    let (before, after) = (all(of: present).subtracting(none), all(of: fresh).subtracting(none))
    // What an operator of no tenant had an object refer to, that object may, as long as it is the same to the byte: elsewhere
    // the tenant could have the value told.
    let left = all(of: fresh.filter { present.contains($0) }).subtracting(none)
    let touched = all(of: fresh.filter { !present.contains($0) }).subtracting(none)
    for source in after {
      if case .environment(let name) = source, name.hasPrefix(TenantReferences.prefix(of: tenant)) {
        // Somebody else may refer to it all the same.
      } else if !left.contains(source) || touched.contains(source) {
        throw .refused(
          "What a tenant's objects refer to is { env: \"\(TenantReferences.prefix(of: tenant))…\" }, with its value beside the text."
        )
      }
      if others.contains(source) { throw .refused("\(source.name) cannot be referred to: choose another name.") }
    }
    let size = after.reduce(0) { $0 + (document.values[$1] ?? base.values[$1] ?? "").utf8.count }
    guard size <= TenantText.longestValues else {
      throw .refused("What a tenant's objects refer to has \(TenantText.longestValues) bytes at most.")
    }
    return { [document] source in
      let value =
        after.contains(source)
        ? document.values[source] ?? (before.contains(source) ? base.values[source] : nil) : base.values[source]
      return value.map { .success($0) } ?? .failure(SecretFault("no value for \(source.name) came with the text"))
    }
  }

  // MARK: Compiling

  /// Compiles the tenant's part with what it may use and nothing else.
  private func checkAlone(
    _ marked: [UInt8], _ spec: TenantSpec, _ entry: [UInt8], _ base: RevisionBody, _ old: TenantText,
    _ secrets: @escaping SecretResolver
  ) throws(TenantFault) {
    let text: [UInt8]
    do throws(TenantTextFault) {
      let shared =
        try old.objects(named: spec.sharedUpstreams, in: .upstreams)
        + old.objects(named: spec.sharedPolicies, in: .policies)
      let tenants = Array("\n  \"tenants\": [".utf8) + entry + Array("\n],".utf8)
      // What somebody else owns cannot be shared; without it the text says so as if it were not there.
      text = try TenantText(marked).replacing(objectsOf: nil, with: shared.filter(\.isNobodys), adding: tenants)
    } catch { throw .refused(Self.unreadable) }
    let (blueprint, diagnostics) = Blueprint.read(own, revision: text, secrets: secrets)
    if blueprint == nil { throw .invalid(diagnostics.filter { $0.severity == .error }) }
  }

  private func whole(
    _ fresh: [TenantObject], _ base: RevisionBody, _ old: TenantText, _ secrets: @escaping SecretResolver
  ) throws(TenantFault) -> Made {
    let text: [UInt8]
    do throws(TenantTextFault) { text = try old.replacing(objectsOf: tenant, with: fresh) } catch {
      throw .refused(Self.unreadable)
    }
    guard let body = RevisionReading(text: text, for: own, secrets: secrets).body else {
      throw .refused(
        "It does not go with what is there already: an id, a key or a match is taken, or there is too much of it.")
    }
    let changes = PlanChange.all(
      from: PlanObjects(base.text, values: base.values), to: PlanObjects(body.text, values: body.values))
    // A change of anything else would be a mistake in here: better none at all.
    let before = (try? old.objects(of: tenant)) ?? []
    let own = Set((before + fresh).map { "\($0.section.rawValue) \($0.name)" })
    guard changes.allSatisfy({ own.contains("\(PlanKind(rawValue: $0.object)?.section ?? "") \($0.name)") }) else {
      throw .refused("It would change what is not the tenant's.")
    }
    return Made(body: body, changes: changes, tag: Self.tag(of: fresh))
  }
}

/// What a text refers to.
enum TenantReferences {
  /// What variables are called that a tenant's objects may refer to: nobody has others looked up by accident, on whatever
  /// machine the text is applied next.
  static func prefix(of tenant: String) -> String {
    let letters = tenant.utf8.map { byte -> UInt8 in
      let isPlain = (48...57).contains(byte) || (97...122).contains(byte | 0x20)
      return isPlain ? (byte >= 97 ? byte - 32 : byte) : UInt8(ascii: "_")
    }
    return "TENANT_\(String(decoding: letters, as: UTF8.self))_"
  }

  /// All references in a text, those that readers take for something else too, and whatever readers ask for.
  static func all(in text: [UInt8], _ own: NodeSections, _ resolver: @escaping SecretResolver) -> Set<SecretSource> {
    let asked = Asked()
    if let root = JSONDocument.parse(text).document?.root { collect(root, &asked.sources) }
    _ = Blueprint.read(own, revision: text) { source in
      asked.sources.insert(source)
      return resolver(source)
    }
    return asked.sources
  }

  private final class Asked {
    var sources: Set<SecretSource> = []
  }

  private static func collect(_ value: JSONValue, _ found: inout Set<SecretSource>) {
    if let source = OptionReader.reference(value) { found.insert(source) }
    for element in value.elements { collect(element, &found) }
    for member in value.members { collect(member.value, &found) }
  }
}

extension TenantObject {
  /// Whether no tenant is named in it, or only whose its subjects are.
  fileprivate var isNobodys: Bool {
    guard let root = JSONDocument.parse(text).document?.root else { return false }
    return root["tenant"] == nil || TenantText.otherMeaning.contains(root["type"]?.string ?? "")
  }
}
