// How every option of the configuration is read, and described.
//
// A policy, a listener or a route has one `init(_ options: inout OptionReader)` that asks for its options by name, type,
// default and help. Run over a file, the reader checks and answers; run in describing mode, it answers placeholders and
// notes what it was asked. So validation, the JSON Schema, `sluice policies` and the README cannot drift apart.
//
// Nothing throws. A wrong option is recorded with its place, the reader answers a harmless placeholder, and reading goes
// on: all mistakes of a file come out in one pass. A key that has failed once is not complained about again.

import Core

/// Reads the options of one object, or describes them. Belongs to one thread.
public struct OptionReader {
  /// What this reader shares with the others of the file.
  public let session: OptionSession
  /// The name of what is being read where it has one: of a policy, `fair-use`; else empty.
  public var instanceName = ""
  /// Its index where the object is an element of an array.
  public internal(set) var position = 0
  /// Whether a plain value stands in place of the object.
  public internal(set) var isShorthand = false
  /// What was asked for; filled in describing mode only.
  public internal(set) var descriptions: [OptionDescription] = []

  var offset = 0
  var entries: [Entry] = []
  var known: [String] = []
  var failed: [String] = []
  /// Keys whose text is a secret, or may be one since it came through a reference.
  var hidden: [String] = []
  var shorthandKey: String?
  /// Nothing of it can be read, and that has been said.
  var hasWrongShape = false

  struct Entry {
    /// Nil for the value of a shorthand.
    let key: JSONValue?
    let value: JSONValue
    var isUsed = false
  }

  /// A reader for the object `value`; any other kind of value is recorded as an error.
  public init(_ value: JSONValue, session: OptionSession, instanceName: String = "") {
    self.init(value, session: session, shorthand: nil)
    self.instanceName = instanceName
  }

  /// A reader that describes.
  public init(describing instanceName: String) {
    session = OptionSession()
    self.instanceName = instanceName
  }

  init(describingIn session: OptionSession) { self.session = session }

  init(_ value: JSONValue, session: OptionSession, shorthand: String?, readsFile: Bool = false) {
    self.session = session
    offset = value.offset
    let isReference = shorthand != nil && !readsFile && Self.reference(value) != nil
    if value.kind == .object && !isReference {
      entries = value.members.map { Entry(key: $0.key, value: $0.value) }
    } else if let shorthand {
      entries = [Entry(key: nil, value: value)]
      shorthandKey = shorthand
      isShorthand = true
    } else {
      session.record(
        .error, offset, session.pathText(), "an object should be here, not \(Self.name(of: value))",
        "write { … } with its options")
      hasWrongShape = true
    }
  }

  /// Whether this run describes the options instead of reading them: every answer is a placeholder.
  public var isDescribing: Bool { session.isDescribing }

  /// Whether `key` is given. Does not count as reading it.
  public func has(_ key: String) -> Bool { index(of: key) != nil }

  /// Whether an error was recorded for `key`, so that what was answered for it is a placeholder.
  public func hasFailed(_ key: String) -> Bool { hasWrongShape || failed.contains(key) }

  /// Records an error at the value of `key`, or at one `element` of its array; at the object where the key is not given.
  /// Silent if the key has failed before, and in describing mode. `fix` says what to do, as a phrase.
  public mutating func fail(_ message: String, at key: String, element: Int? = nil, fix: String) {
    if hasFailed(key) { return }
    let place = place(of: key, element: element)
    if element == nil { failed.append(key) }
    session.fail(hidden.contains(key) ? Self.masked(message) : message, at: place, fix: fix)
  }

  /// `message` without what it quotes or has in braces: that may be a part of a secret, which nobody could strike out.
  private static func masked(_ message: String) -> String {
    var result = ""
    var closing: Character?
    for letter in message {
      if let end = closing {
        guard letter == end else { continue }
        closing = nil
      } else if letter == "\"" || letter == "{" {
        closing = letter == "{" ? "}" : letter
        result += "\(letter)…"
        continue
      }
      result.append(letter)
    }
    return result
  }

  /// Records a warning at the value of `key`.
  public func warn(_ message: String, at key: String, element: Int? = nil, fix: String) {
    if !hasFailed(key) { session.warn(message, at: place(of: key, element: element), fix: fix) }
  }

  /// The place of the value of `key`, or of one `element` of its array, for a check that comes later.
  public func place(of key: String, element: Int? = nil) -> OptionPlace {
    var offset = self.offset
    if let index = index(of: key) {
      let value = entries[index].value
      offset = value.offset
      if let element, value.kind == .array, element < value.count { offset = value.elements[element].offset }
    }
    return OptionPlace(offset: offset, path: session.pathText(isShorthand ? nil : key, element: element))
  }

  /// The place of what these steps lead to from here; where the file ends early, the last place on the way.
  public func place(at steps: [OptionStep]) -> OptionPlace {
    var offset = self.offset
    var value: JSONValue?
    for (depth, step) in steps.enumerated() {
      switch step {
      case .key(let key): value = depth == 0 ? index(of: key).map { entries[$0].value } : value?[key]
      case .index(let index):
        let elements = value?.elements ?? []
        value = index < elements.count ? elements[index] : elements.isEmpty ? value : nil
      }
      guard let value else { break }
      offset = value.offset
    }
    return OptionPlace(offset: offset, path: session.pathText(appending: steps))
  }

  /// The place of the object itself.
  public var place: OptionPlace { OptionPlace(offset: offset, path: session.pathText()) }

  /// Ends the reading: every key that was not asked for is an error. Called for nested readers by themselves.
  public mutating func finish() {
    for entry in entries where !entry.isUsed {
      guard let key = entry.key else { continue }
      let name = key.string ?? ""
      // A key that was asked for and is still unread is there twice, and the parser has said so.
      if known.contains(name) { continue }
      let list = known.sorted().map { "\"\($0)\"" }.joined(separator: ", ")
      let fix = Suggestion.fix(name, among: known, otherwise: "remove it; possible are \(list)")
      session.record(.error, key.offset, session.pathText(name), "there is no option \"\(name)\" here", fix)
    }
  }

  /// Lets these keys pass unread: somebody else reads them.
  public mutating func ignore(_ keys: [String]) {
    if isDescribing { return }
    known += keys
    for key in keys { _ = take(key) }
  }

  /// Lets all other keys pass unread: what they mean cannot be known.
  public mutating func skipRest() {
    for index in entries.indices { entries[index].isUsed = true }
  }

  /// Whether there is no object to read from, which has been recorded.
  public var isUnreadable: Bool { hasWrongShape }

  /// Whether the value of `key` is an array.
  public func isArray(_ key: String) -> Bool { index(of: key).map { entries[$0].value.kind == .array } ?? false }

  /// Whether the value of `key` is an array, or an object that is no reference to a string.
  public func isArrayOrObject(_ key: String) -> Bool {
    guard let value = index(of: key).map({ entries[$0].value }) else { return false }
    return value.kind == .array || value.kind == .object && Self.reference(value) == nil
  }

  /// The string behind `key` if there is one; does not count as reading it, and resolves no reference.
  public func peek(_ key: String) -> String? { index(of: key).flatMap { entries[$0].value.string } }

  // MARK: Looking up

  func index(of key: String) -> Int? {
    entries.firstIndex { entry in entry.key?.equals(key) ?? (shorthandKey == key) }
  }

  /// The value of `key`, which from now on counts as read.
  mutating func take(_ key: String) -> JSONValue? {
    guard let index = index(of: key) else { return nil }
    entries[index].isUsed = true
    return entries[index].value
  }

  /// The value of `key`; where it is missing although required, that is recorded.
  mutating func take(_ key: String, isRequired: Bool) -> JSONValue? {
    known.append(key)
    if let value = take(key) { return value }
    if isRequired { fail("\"\(key)\" is missing", at: key, fix: "add \(key): …") }
    return nil
  }

  mutating func describe(
    _ key: String, _ kind: OptionDescription.Kind, isRequired: Bool, default text: String?, _ help: String
  ) {
    descriptions.append(
      OptionDescription(name: key, kind: kind, isRequired: isRequired, defaultText: text, help: help))
  }

  mutating func failKind(_ key: String, _ value: JSONValue, element: Int? = nil, expected: String, fix: String) {
    fail("\(expected) should be here, not \(Self.name(of: value))", at: key, element: element, fix: fix)
  }

  static func name(of value: JSONValue) -> String {
    switch value.kind {
    case .null: "null"
    case .bool: "true or false"
    case .number: "a number"
    case .string: "a string"
    case .array: "an array"
    case .object: "an object"
    }
  }
}
