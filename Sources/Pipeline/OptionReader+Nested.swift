import Core

extension OptionReader {
  // MARK: Lists of text

  /// An array of strings; where it is left out, `standard`. With `allowsSingle`, one string may stand without brackets.
  public mutating func stringList(
    _ key: String, default standard: [String] = [], isRequired: Bool = false, allowsSingle: Bool = false,
    _ help: String
  ) -> [String] {
    textList(key, .string, default: standard, isRequired: isRequired, allowsSingle: allowsSingle, help) { $1 }
  }

  /// An array of texts of a certain form; the wrong ones are recorded and left out.
  public mutating func valueList<T>(
    _ key: String, _ format: OptionFormat, default standard: [String] = [], isRequired: Bool = false,
    allowsSingle: Bool = false, _ help: String, parse: (String) -> T?
  ) -> [T] {
    var wrong: [(Int, String)] = []
    let values = textList(
      key, .format(format), default: standard, isRequired: isRequired, allowsSingle: allowsSingle, help
    ) { element, text in
      let value = parse(text)
      if value == nil { wrong.append((element, text)) }
      return value
    }
    for (element, text) in wrong { _ = parsed(key, element: element, text, format) { _ in T?.none } }
    return values
  }

  private mutating func textList<T>(
    _ key: String, _ kind: OptionDescription.Kind, default standard: [String], isRequired: Bool, allowsSingle: Bool,
    _ help: String, _ convert: (_ element: Int, _ text: String) -> T?
  ) -> [T] {
    if isDescribing {
      let text = isRequired ? nil : "[\(standard.map(Self.quoted).joined(separator: ", "))]"
      describe(key, .list(kind, allowsSingle: allowsSingle), isRequired: isRequired, default: text, help)
      return standard.enumerated().compactMap(convert)
    }
    guard let values = elements(key, isRequired: isRequired, allowsSingle: allowsSingle) else {
      return standard.enumerated().compactMap(convert)
    }
    return values.enumerated().compactMap { element, value in
      text(of: value, key, element: element).flatMap { convert(element, $0) }
    }
  }

  /// The elements of the array `key`; nil where it is left out or no array.
  mutating func elements(_ key: String, isRequired: Bool, allowsSingle: Bool) -> [JSONValue]? {
    guard let value = take(key, isRequired: isRequired) else { return nil }
    if value.kind == .array {
      if value.count == 0 && isRequired { fail("this array is empty", at: key, fix: "add at least one element") }
      return value.elements
    }
    if allowsSingle { return [value] }
    failKind(key, value, expected: "an array", fix: "put it in [ ]")
    return nil
  }

  // MARK: Objects

  /// The object `key`, read by `body`; nil where it is left out, is no object, or `body` returns nil.
  ///
  /// With `shorthand`, a plain value in its place stands for `{ shorthand: value }`. With `readsFile`, the object has
  /// an option `file` of its own, and `{ file: … }` is no reference to a string.
  public mutating func object<T>(
    _ key: String, shorthand: String? = nil, readsFile: Bool = false, isRequired: Bool = false, _ help: String,
    _ body: (inout OptionReader) -> T?
  ) -> T? {
    if isDescribing {
      var nested = OptionReader(describingIn: session)
      let value = body(&nested)
      describe(key, .object(nested.descriptions, shorthand: shorthand), isRequired: isRequired, default: nil, help)
      return value
    }
    guard let value = take(key, isRequired: isRequired) else { return nil }
    return read(value, [.key(key)], shorthand, readsFile: readsFile, body)
  }

  /// The object `key`, read by `body` also where it is left out: then every option in it has its default.
  public mutating func section<T>(_ key: String, _ help: String, _ body: (inout OptionReader) -> T) -> T {
    if isDescribing {
      var nested = OptionReader(describingIn: session)
      let value = body(&nested)
      describe(key, .object(nested.descriptions, shorthand: nil), isRequired: false, default: "{}", help)
      return value
    }
    if let value = take(key, isRequired: false) {
      let result: T? = read(value, [.key(key)], nil) { body(&$0) }
      if let result { return result }
    }
    var empty = OptionReader(emptyIn: session, offset: offset)
    return body(&empty)
  }

  /// The array of objects `key`, each read by `body`; those for which it returns nil are left out.
  ///
  /// With `shorthand`, a plain value in place of an object stands for `{ shorthand: value }`. With `definition`, the
  /// description refers to a shape described elsewhere, and `body` is not called to describe it.
  public mutating func objects<T>(
    _ key: String, shorthand: String? = nil, isRequired: Bool = false, allowsSingle: Bool = false,
    definition: String? = nil, _ help: String, _ body: (inout OptionReader) -> T?
  ) -> [T] {
    if isDescribing {
      var kind = OptionDescription.Kind.definition(definition ?? "")
      var result: [T] = []
      if definition == nil {
        var nested = OptionReader(describingIn: session)
        if let value = body(&nested) { result.append(value) }
        kind = .object(nested.descriptions, shorthand: shorthand)
      }
      describe(
        key, .list(kind, allowsSingle: allowsSingle), isRequired: isRequired, default: isRequired ? nil : "[]", help)
      return result
    }
    guard let values = elements(key, isRequired: isRequired, allowsSingle: allowsSingle) else { return [] }
    var result: [T] = []
    result.reserveCapacity(values.count)
    for (index, value) in values.enumerated() {
      let item = read(value, isArray(key) ? [.key(key), .index(index)] : [.key(key)], shorthand) { reader in
        reader.position = index
        return body(&reader)
      }
      if let item { result.append(item) }
    }
    return result
  }

  /// The object `key` with free names, each value an object read by `body`, in the order of the file. The reader's
  /// ``instanceName`` is the name.
  public mutating func map<T>(
    _ key: String, shorthand: String? = nil, definition: String? = nil, _ help: String,
    _ body: (_ name: String, inout OptionReader) -> T?
  ) -> [(name: String, value: T)] {
    if isDescribing {
      var kind = OptionDescription.Kind.definition(definition ?? "")
      var result: [(name: String, value: T)] = []
      if definition == nil {
        var nested = OptionReader(describingIn: session)
        if let value = body("name", &nested) { result.append(("name", value)) }
        kind = .object(nested.descriptions, shorthand: shorthand)
      }
      describe(key, .map(kind), isRequired: false, default: "{}", help)
      return result
    }
    guard let members = members(key) else { return [] }
    var result: [(name: String, value: T)] = []
    result.reserveCapacity(members.count)
    for member in members {
      let name = member.key.string ?? ""
      let item = read(member.value, [.key(key), .key(name)], shorthand) { reader in
        reader.instanceName = name
        return body(name, &reader)
      }
      if let item { result.append((name, item)) }
    }
    return result
  }

  /// The object `key` with free names and strings for values, in the order of the file.
  public mutating func stringMap(_ key: String, _ help: String) -> [(name: String, value: String)] {
    if isDescribing {
      describe(key, .map(.string), isRequired: false, default: "{}", help)
      return []
    }
    guard let members = members(key) else { return [] }
    var result: [(name: String, value: String)] = []
    session.path.append(.key(key))
    defer { session.path.removeLast() }
    for member in members {
      let name = member.key.string ?? ""
      // A reader of its own, so that a mistake has the place of the value and not of the whole object.
      var entry = OptionReader(emptyIn: session, offset: member.value.offset)
      if let text = entry.text(of: member.value, name, element: nil) { result.append((name, text)) }
    }
    return result
  }

  private mutating func members(_ key: String) -> [JSONValue.Member]? {
    guard let value = take(key, isRequired: false) else { return nil }
    if value.kind == .object { return value.members }
    failKind(key, value, expected: "an object", fix: "write { name: … }")
    return nil
  }

  private func read<T>(
    _ value: JSONValue, _ path: [OptionStep], _ shorthand: String?, readsFile: Bool = false,
    _ body: (inout OptionReader) -> T?
  ) -> T? {
    session.path.append(contentsOf: path)
    defer { session.path.removeLast(path.count) }
    var nested = OptionReader(value, session: session, shorthand: shorthand, readsFile: readsFile)
    if nested.hasWrongShape { return nil }
    let result = body(&nested)
    nested.finish()
    return result
  }

  /// A reader of an object without any members.
  init(emptyIn session: OptionSession, offset: Int) {
    self.session = session
    self.offset = offset
  }
}
