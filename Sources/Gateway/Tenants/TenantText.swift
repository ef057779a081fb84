// What belongs to a tenant in the text of a configuration: found, taken out, and put in.
//
// A tenant's operator changes its own objects and nothing else, so the text of all others must stay as its authors wrote it,
// comments and all. Objects are cut out of the text and put into it by their places; nothing is parsed and written anew.
// Whatever this makes is compiled afterwards like any other text: a mistake here cannot make a configuration that is none,
// and what it takes for a tenant's is marked so in the text itself.

import Core
import Pipeline
import Policies

/// The sections whose objects can belong to a tenant.
public enum TenantSection: String, CaseIterable, Sendable {
  /// Callers, addresses, rules and ways.
  case consumers, upstreams, policies, routes

  /// Whether its objects are members with names; otherwise they are elements with an id.
  var isMap: Bool { self == .upstreams || self == .policies }
}

/// An object that belongs to a tenant, as its author wrote it.
public struct TenantObject: Equatable, Sendable {
  /// Where it stands.
  public let section: TenantSection
  /// Its name there.
  public let name: String
  /// From its opening bracket to its closing one.
  public let text: [UInt8]
}

/// Why a text cannot be taken apart.
public enum TenantTextFault: Error, Equatable {
  /// It is no such JSON.
  case malformed([JSONFault])
  /// This is not an object of objects, or list of them, as it should be.
  case shape(String)
  /// There is something in it that cannot be a tenant's.
  case section(String)
  /// This object is marked with another tenant, or not with a plain name.
  case mark(TenantSection, String)
  /// Policies of this name's type say by the option `tenant` something else.
  case kind(String)
}

/// The text of a configuration in which objects belong to tenants.
public struct TenantText {
  /// The most bytes that one tenant's objects may take.
  static let longestDocument = 1 << 20
  /// The most bytes of what a tenant's objects refer to: all tenants share the room of a revision.
  static let longestValues = 64 << 10
  /// Policies whose own option `tenant` says whose their subjects are: such a policy belongs to nobody.
  static let otherMeaning = Set(
    Registry.policies.filter { type in Registry.options(of: type).contains { $0.name == "tenant" } }.map { $0.name })

  private let text: [UInt8]
  private let root: JSONValue

  /// Takes a text apart.
  public init(_ text: [UInt8]) throws(TenantTextFault) {
    let outcome = JSONDocument.parse(text)
    guard outcome.faults.isEmpty, let root = outcome.document?.root else { throw .malformed(outcome.faults) }
    guard root.kind == .object else { throw .shape("the configuration") }
    (self.text, self.root) = (text, root)
  }

  /// A member or element of a section.
  private struct Place {
    let name: String
    let value: JSONValue
    /// With the name, where it is a member.
    let range: Range<Int>
  }

  private func places(in section: TenantSection) throws(TenantTextFault) -> [Place] {
    guard let value = root[section.rawValue] else { return [] }
    switch value.kind {
    case .object:
      return value.members.map {
        let range = $0.key.sourceRange.lowerBound..<$0.value.sourceRange.upperBound
        return Place(name: $0.key.string ?? "", value: $0.value, range: range)
      }
    case .array:
      return value.elements.map { Place(name: $0["id"]?.string ?? "", value: $0, range: $0.sourceRange) }
    default: throw .shape(section.rawValue)
    }
  }

  private static func isOwn(_ place: Place, _ section: TenantSection, _ tenant: String) -> Bool {
    guard place.value.kind == .object, place.value["tenant"]?.equals(tenant) == true else { return false }
    return section != .policies || !hasOtherMeaning(place.value)
  }

  private static func hasOtherMeaning(_ policy: JSONValue) -> Bool {
    policy["type"]?.string.map { otherMeaning.contains($0) } ?? false
  }

  // MARK: Finding

  /// The objects of a tenant, section by section.
  public func objects(of tenant: String) throws(TenantTextFault) -> [TenantObject] {
    var found: [TenantObject] = []
    for section in TenantSection.allCases {
      for place in try places(in: section) where Self.isOwn(place, section, tenant) {
        found.append(TenantObject(section: section, name: place.name, text: Array(text[place.value.sourceRange])))
      }
    }
    return found
  }

  /// The objects of these names in a section.
  func objects(named names: [String], in section: TenantSection) throws(TenantTextFault) -> [TenantObject] {
    try places(in: section).filter { names.contains($0.name) && $0.value.kind == .object }.map {
      TenantObject(section: section, name: $0.name, text: Array(text[$0.value.sourceRange]))
    }
  }

  /// The names of all objects of a section that are not the tenant's.
  public func otherNames(in section: TenantSection, than tenant: String) throws(TenantTextFault) -> Set<String> {
    Set(try places(in: section).filter { !Self.isOwn($0, section, tenant) }.map(\.name))
  }

  /// The member of `tenants` of this name; nil where there is none.
  func entry(of tenant: String) -> [UInt8]? {
    let entry = root["tenants"]?.elements.first { $0.equals(tenant) || $0["id"]?.equals(tenant) == true }
    return entry.map { Array(text[$0.sourceRange]) }
  }

  // MARK: What a tenant's operator brings along

  /// The same text, which must have nothing but a tenant's: each object is marked with it that is not yet. Lines keep their
  /// numbers.
  public func marked(with tenant: String) throws(TenantTextFault) -> [UInt8] {
    for member in root.members {
      let name = member.key.string ?? ""
      guard let section = TenantSection(rawValue: name) else {
        if name == "$schema" { continue }
        throw .section(name)
      }
      guard member.value.kind == (section.isMap ? .object : .array) else { throw .shape(name) }
    }
    let mark = ByteBuffer()
    var json = JSONWriter(mark)
    json.key("tenant")
    json.string(tenant)
    var edits: [Edit] = []
    for section in TenantSection.allCases {
      for place in try places(in: section) {
        guard place.value.kind == .object else { throw .shape("\(section.rawValue): \(place.name)") }
        // A name by reference would be looked at by nobody who compares names.
        guard section.isMap || OptionFormat.identifier(place.name) != nil else {
          throw .shape("\(section.rawValue): an id that is no plain name")
        }
        if section == .policies, Self.hasOtherMeaning(place.value) { throw .kind(place.name) }
        if let found = place.value["tenant"] {
          guard found.equals(tenant) else { throw .mark(section, place.name) }
          continue
        }
        // Behind the last member, so that what stands before it keeps its place on the line.
        if let end = place.value.members.last?.value.sourceRange.upperBound {
          edits.append(Edit(range: end..<end, bytes: Array(", ".utf8) + mark.array))
        } else {
          let start = place.value.sourceRange.lowerBound + 1
          edits.append(Edit(range: start..<start, bytes: mark.array))
        }
      }
    }
    return applied(edits)
  }

  /// A document of these objects, which ``document(of:)`` reads.
  public static func document(_ objects: [TenantObject]) -> [UInt8] {
    let out = ByteBuffer()
    out.append("{")
    var isFirst = true
    for section in TenantSection.allCases {
      let own = objects.filter { $0.section == section }
      if own.isEmpty { continue }
      out.append(utf8: "\(isFirst ? "" : ",")\n  \"\(section.rawValue)\": \(section.isMap ? "{" : "[")\n    ")
      isFirst = false
      for (index, object) in own.enumerated() {
        if index > 0 { out.append(",\n    ") }
        out.append(written(object, named: section.isMap))
      }
      out.append(utf8: "\n  \(section.isMap ? "}" : "]")")
    }
    out.append("\n}\n")
    return out.array
  }

  private static func written(_ object: TenantObject, named isNamed: Bool) -> [UInt8] {
    guard isNamed else { return object.text }
    let name = ByteBuffer()
    name.appendJSON(string: object.name)
    return name.array + Array(": ".utf8) + object.text
  }

  // MARK: Putting in

  /// A change of the text.
  private struct Edit {
    let range: Range<Int>
    var bytes: [UInt8] = []
  }

  /// The text with these objects in place of the tenant's (nil: of nobody's). Everything else stays byte for byte, but for
  /// commas in between and the blanks around what is taken out.
  /// `more` is put to the sections, with a comma at its end.
  public func replacing(
    objectsOf tenant: String?, with objects: [TenantObject], adding more: [UInt8] = []
  ) throws(TenantTextFault) -> [UInt8] {
    var edits: [Edit] = []
    var missing = more
    for section in TenantSection.allCases {
      let fresh = objects.filter { $0.section == section }
      guard let value = root[section.rawValue] else {
        if fresh.isEmpty { continue }
        let (open, close) = section.isMap ? ("{", "}") : ("[", "]")
        missing += Array("\n  \"\(section.rawValue)\": \(open)".utf8) + Self.lines(fresh, section.isMap)
        missing += Array("\n  \(close),".utf8)
        continue
      }
      let all = try places(in: section)
      let own = all.filter { place in tenant.map { Self.isOwn(place, section, $0) } ?? false }
      for place in own { edits += removal(of: place.range) }
      if fresh.isEmpty { continue }
      let isMap = value.kind == .object
      guard isMap == section.isMap else { throw .shape(section.rawValue) }
      let starts = Set(own.map(\.range.lowerBound))
      let kept = all.last { !starts.contains($0.range.lowerBound) }
      edits += insertion(of: Self.lines(fresh, isMap), in: value, behind: kept?.range.upperBound, indent: "  ")
    }
    if !missing.isEmpty {
      edits += insertion(of: missing, in: root, behind: root.members.last?.value.sourceRange.upperBound, indent: "")
    }
    return applied(edits)
  }

  private static func lines(_ objects: [TenantObject], _ isMap: Bool) -> [UInt8] {
    objects.flatMap { Array("\n    ".utf8) + written($0, named: isMap) + [UInt8(ascii: ",")] }
  }

  /// Takes an element out, with its comma, and with its line where it has lines of its own.
  private func removal(of range: Range<Int>) -> [Edit] {
    var start = range.lowerBound
    while start > 0, text[start - 1] == 0x20 || text[start - 1] == 0x09 { start -= 1 }
    let next = afterBlank(range.upperBound)
    var end = range.upperBound
    var comma: Edit?
    if next < text.count, text[next] == UInt8(ascii: ",") {
      if text[end..<next].allSatisfy({ Self.isSpace($0) }) {
        end = next + 1
      } else {
        // A comment stands between the two, and stays.
        comma = Edit(range: next..<(next + 1))
      }
    }
    var rest = end
    while rest < text.count, text[rest] != 10, Self.isSpace(text[rest]) { rest += 1 }
    // Only where a line ends behind it may the one before be ended later: it may have a comment at its end.
    if comma == nil, rest < text.count, text[rest] == 10, start > 0, text[start - 1] == 10 {
      start -= start > 1 && text[start - 2] == 13 ? 2 : 1
    }
    return [Edit(range: start..<end)] + (comma.map { [$0] } ?? [])
  }

  /// Puts lines, each with a comma at its end, before the bracket that closes `container`.
  private func insertion(
    of lines: [UInt8], in container: JSONValue, behind last: Int?, indent: String
  ) -> [Edit] {
    var edits: [Edit] = []
    if let last {
      let next = afterBlank(last)
      if next >= text.count || text[next] != UInt8(ascii: ",") {
        edits.append(Edit(range: last..<last, bytes: [UInt8(ascii: ",")]))
      }
    }
    let bracket = container.sourceRange.upperBound - 1
    var place = bracket
    while place > 0, Self.isSpace(text[place - 1]) { place -= 1 }
    let endsLine = text[place..<bracket].contains(10)
    edits.append(Edit(range: place..<place, bytes: lines + (endsLine ? [] : Array("\n\(indent)".utf8))))
    return edits
  }

  /// The text with all edits made, which do not overlap.
  private func applied(_ edits: [Edit]) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(text.count + edits.reduce(0) { $0 + $1.bytes.count })
    var copied = 0
    // A stable order: of two at one place the one that was found first comes first.
    let sorted = edits.enumerated().sorted {
      ($0.element.range.lowerBound, $0.element.range.upperBound, $0.offset)
        < ($1.element.range.lowerBound, $1.element.range.upperBound, $1.offset)
    }
    for (_, edit) in sorted {
      precondition(edit.range.lowerBound >= copied, "two changes of one place")
      result += text[copied..<edit.range.lowerBound] + edit.bytes
      copied = edit.range.upperBound
    }
    return result + text[copied...]
  }

  private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0d).contains(byte) }

  /// Where the next thing stands that is neither blank nor comment.
  private func afterBlank(_ start: Int) -> Int {
    var at = start
    while at < text.count {
      if Self.isSpace(text[at]) {
        at += 1
      } else if text[at] == UInt8(ascii: "/"), at + 1 < text.count, text[at + 1] == UInt8(ascii: "/") {
        while at < text.count, text[at] != 10 { at += 1 }
      } else if text[at] == UInt8(ascii: "/"), at + 1 < text.count, text[at + 1] == UInt8(ascii: "*") {
        at += 2
        while at + 1 < text.count, text[at] != UInt8(ascii: "*") || text[at + 1] != UInt8(ascii: "/") { at += 1 }
        at = min(at + 2, text.count)
      } else {
        break
      }
    }
    return at
  }
}
