// The structural side of a plan: two configurations taken apart into objects with names, and each object into options.
// Values are compared as the authors wrote them, without blanks and comments; what a reference stands for is compared too,
// and never shown.

import Core
import Pipeline

/// The kinds of objects that a configuration consists of.
enum PlanKind: String, CaseIterable {
  case route, policy, upstream, consumer, tenant

  /// The section that they stand in.
  var section: String {
    switch self {
    case .route: "routes"
    case .policy: "policies"
    case .upstream: "upstreams"
    case .consumer: "consumers"
    case .tenant: "tenants"
    }
  }
}

/// The objects of one configuration, by name.
struct PlanObjects {
  /// One option of an object: where it stands, and what it says.
  struct Option: Equatable {
    let path: String
    /// The value without blanks and comments; of a reference, the reference.
    let text: String
    /// What references in the value stand for; compared, never shown.
    fileprivate let hidden: [String?]
  }

  private var objects: [PlanKind: [(name: String, value: JSONValue)]] = [:]
  private let values: [SecretSource: String]

  /// The objects of a text that has been read without errors. `values` are what it refers to.
  init(_ text: [UInt8], values: [SecretSource: String]) {
    self.values = values
    guard let root = JSONDocument.parse(text).document?.root else { return }
    for kind in PlanKind.allCases {
      guard let section = root[kind.section] else { continue }
      if section.kind == .object {
        objects[kind] = section.members.map { ($0.key.string ?? "", $0.value) }
      } else {
        objects[kind] = section.elements.map { ($0["id"]?.string ?? $0.string ?? "", $0) }
      }
    }
  }

  /// Whether there is any object.
  var isAnything: Bool { objects.values.contains { !$0.isEmpty } }

  /// The objects of a kind, in the order of the text.
  func all(_ kind: PlanKind) -> [(name: String, value: JSONValue)] { objects[kind] ?? [] }

  /// The options of an object, in the order of the text, its own name left out.
  func options(of value: JSONValue) -> [Option] {
    var found: [Option] = []
    collect(value, "", &found)
    return found.filter { $0.path != "id" }
  }

  private func collect(_ value: JSONValue, _ path: String, _ found: inout [Option]) {
    let isLeaf =
      value.count == 0 || OptionReader.reference(value) != nil
      || value.kind == .array && value.elements.allSatisfy { $0.count == 0 || OptionReader.reference($0) != nil }
    if isLeaf {
      let buffer = ByteBuffer()
      var writer = JSONWriter(buffer)
      var hidden: [String?] = []
      write(value, to: &writer, &hidden)
      return found.append(Option(path: path, text: buffer.text, hidden: hidden))
    }
    if value.kind == .array {
      for (index, element) in value.elements.enumerated() { collect(element, "\(path)[\(index)]", &found) }
    } else {
      for member in value.members {
        let name = member.key.string ?? ""
        collect(member.value, path.isEmpty ? name : "\(path).\(name)", &found)
      }
    }
  }

  private func write(_ value: JSONValue, to writer: inout JSONWriter, _ hidden: inout [String?]) {
    if let source = OptionReader.reference(value) { hidden.append(values[source]) }
    switch value.kind {
    case .null, .bool, .number: writer.raw(value.sourceText)
    case .string: writer.string(value.string ?? "")
    case .array:
      writer.beginArray()
      for element in value.elements { write(element, to: &writer, &hidden) }
      writer.endArray()
    case .object:
      writer.beginObject()
      for member in value.members {
        writer.key(member.key.string ?? "")
        write(member.value, to: &writer, &hidden)
      }
      writer.endObject()
    }
  }
}

/// What happens to one object.
public struct PlanChange: Equatable, Sendable {
  /// How it changes.
  public enum Kind: String, Sendable { case added, removed, changed }

  /// An option that differs.
  public struct Option: Equatable, Sendable {
    /// Where it stands in the object, as in `limits[0].window`.
    public let path: String
    /// What it said, as JSON without blanks; nil where it is new.
    public let old: String?
    /// What it says; nil where it is gone.
    public let new: String?
    /// Whether the two are the same reference, to a secret that is another one.
    public let isSecretOnly: Bool
  }

  /// `route`, `policy`, `upstream`, `consumer` or `tenant`.
  public let object: String
  /// Its name.
  public let name: String
  /// How it changes.
  public let kind: Kind
  /// What differs; for an object that is added or removed, all that it says.
  public let options: [Option]

  /// What leads from one configuration to another.
  static func all(from old: PlanObjects, to new: PlanObjects) -> [PlanChange] {
    PlanKind.allCases.flatMap { kind -> [PlanChange] in
      let before = Dictionary(old.all(kind).map { ($0.name, $0.value) }) { first, _ in first }
      let after = Set(new.all(kind).map(\.name))
      let removed = old.all(kind).filter { !after.contains($0.name) }.map { object in
        PlanChange(kind, object.name, .removed, from: old.options(of: object.value), to: [])
      }
      return removed
        + new.all(kind).compactMap { object in
          let options = new.options(of: object.value)
          guard let value = before[object.name] else {
            return PlanChange(kind, object.name, .added, from: [], to: options)
          }
          let change = PlanChange(kind, object.name, .changed, from: old.options(of: value), to: options)
          return change.options.isEmpty ? nil : change
        }
    }
  }

  private init(
    _ object: PlanKind, _ name: String, _ kind: Kind, from old: [PlanObjects.Option], to new: [PlanObjects.Option]
  ) {
    self.object = object.rawValue
    self.name = name
    self.kind = kind
    let before = Dictionary(old.map { ($0.path, $0) }) { first, _ in first }
    let after = Dictionary(new.map { ($0.path, $0) }) { first, _ in first }
    var options: [Option] = []
    for option in old where before[option.path] == option && after[option.path] != option {
      let next = after[option.path]
      options.append(
        Option(path: option.path, old: option.text, new: next?.text, isSecretOnly: next?.text == option.text))
    }
    for option in new where before[option.path] == nil {
      options.append(Option(path: option.path, old: nil, new: option.text, isSecretOnly: false))
    }
    self.options = options
  }
}
