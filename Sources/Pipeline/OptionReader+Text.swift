import Core

extension OptionReader {
  /// A required string. Control characters (so also line ends) are refused.
  public mutating func string(_ key: String, _ help: String) -> String {
    text(key, .string, isRequired: true, default: nil, help) ?? ""
  }

  /// A string with a default.
  public mutating func string(_ key: String, default value: String, _ help: String) -> String {
    text(key, .string, isRequired: false, default: value, help) ?? value
  }

  /// A string, or nil where it is left out.
  public mutating func optionalString(_ key: String, _ help: String) -> String? {
    text(key, .string, isRequired: false, default: nil, help)
  }

  /// A string that may have several lines, or nil where it is left out.
  public mutating func optionalText(_ key: String, _ help: String) -> String? {
    text(key, .string, isRequired: false, default: nil, allowsLines: true, help)
  }

  /// A required string that no diagnostic will show, even if it stands in the file itself.
  public mutating func secret(_ key: String, _ help: String) -> String {
    text(key, .secret, isRequired: true, default: nil, help) ?? ""
  }

  /// A string that no diagnostic will show, or nil where it is left out.
  public mutating func optionalSecret(_ key: String, _ help: String) -> String? {
    text(key, .secret, isRequired: false, default: nil, help)
  }

  /// A required secret that may have several lines, such as a private key in PEM form.
  public mutating func secretText(_ key: String, _ help: String) -> String? {
    text(key, .secret, isRequired: true, default: nil, allowsLines: true, help)
  }

  /// A secret that may have several lines, or nil where it is left out.
  public mutating func optionalSecretText(_ key: String, _ help: String) -> String? {
    text(key, .secret, isRequired: false, default: nil, allowsLines: true, help)
  }

  /// What the file at a path says, which is relative to the configuration file.
  public func content(ofFile path: String) -> Result<String, SecretFault> {
    let content = session.resolve(.file(path))
    if case .success(let text) = content { session.keepSecret(text) }
    return content
  }

  /// A required text of a certain form: `parse` turns it into a value, or nil where it does not have that form.
  /// Answers `placeholder` after an error.
  public mutating func value<T>(
    _ key: String, _ format: OptionFormat, placeholder: T, _ help: String, parse: (String) -> T?
  ) -> T {
    guard let text = text(key, .format(format), isRequired: true, default: nil, help) else { return placeholder }
    return parsed(key, text, format, parse) ?? placeholder
  }

  /// A text of a certain form, with a default.
  public mutating func value<T>(
    _ key: String, _ format: OptionFormat, default standard: String, placeholder: T, _ help: String,
    parse: (String) -> T?
  ) -> T {
    let text = text(key, .format(format), isRequired: false, default: standard, help) ?? standard
    return parsed(key, text, format, parse) ?? placeholder
  }

  /// A text of a certain form, or nil where it is left out or wrong.
  public mutating func optionalValue<T>(
    _ key: String, _ format: OptionFormat, _ help: String, parse: (String) -> T?
  ) -> T? {
    guard let text = text(key, .format(format), isRequired: false, default: nil, help) else { return nil }
    return parsed(key, text, format, parse)
  }

  /// A word out of `E`'s raw values, with a default.
  public mutating func choice<E: RawRepresentable<String> & CaseIterable>(
    _ key: String, default standard: E, _ help: String
  ) -> E {
    choiceOrNil(key, isRequired: false, default: standard, help) ?? standard
  }

  /// A required word out of `E`'s raw values; `placeholder` after an error.
  public mutating func choice<E: RawRepresentable<String> & CaseIterable>(
    _ key: String, placeholder: E, _ help: String
  ) -> E {
    choiceOrNil(key, isRequired: true, default: nil, help) ?? placeholder
  }

  /// A word out of `E`'s raw values, or nil where it is left out.
  public mutating func optionalChoice<E: RawRepresentable<String> & CaseIterable>(
    _ key: String, as type: E.Type = E.self, _ help: String
  ) -> E? {
    choiceOrNil(key, isRequired: false, default: nil, help)
  }

  /// A duration with a default, `"250ms"`, `"5s"`, `"1m"`, `"1h"`, `"7d"`.
  public mutating func duration(
    _ key: String, default standard: Duration, in range: ClosedRange<Duration> = .anyDuration, _ help: String
  ) -> Duration {
    let text = standard.configurationText
    return durationOrNil(key, isRequired: false, default: text, range, help) ?? standard
  }

  /// A required duration; the lower bound of `range` after an error.
  public mutating func duration(
    _ key: String, in range: ClosedRange<Duration> = .anyDuration, _ help: String
  ) -> Duration {
    durationOrNil(key, isRequired: true, default: nil, range, help) ?? range.lowerBound
  }

  /// A duration, or nil where it is left out.
  public mutating func optionalDuration(
    _ key: String, in range: ClosedRange<Duration> = .anyDuration, _ help: String
  ) -> Duration? {
    durationOrNil(key, isRequired: false, default: nil, range, help)
  }

  /// A size in bytes with a default, `"64KiB"`, `"10MB"`.
  public mutating func size(
    _ key: String, default standard: Int64, in range: ClosedRange<Int64> = 0...(.max), _ help: String
  ) -> Int64 {
    let text = ByteCount(standard).description
    return sizeOrNil(key, isRequired: false, default: text, range, help) ?? standard
  }

  /// A required size in bytes; the lower bound of `range` after an error.
  public mutating func size(_ key: String, in range: ClosedRange<Int64> = 0...(.max), _ help: String) -> Int64 {
    sizeOrNil(key, isRequired: true, default: nil, range, help) ?? range.lowerBound
  }

  /// A size in bytes, or nil where it is left out.
  public mutating func optionalSize(_ key: String, in range: ClosedRange<Int64> = 0...(.max), _ help: String)
    -> Int64?
  {
    sizeOrNil(key, isRequired: false, default: nil, range, help)
  }

  // MARK: The common part

  private mutating func text(
    _ key: String, _ kind: OptionDescription.Kind, isRequired: Bool, default standard: String?,
    allowsLines: Bool = false, _ help: String
  ) -> String? {
    if isDescribing {
      describe(key, kind, isRequired: isRequired, default: standard.map(Self.quoted), help)
      return standard
    }
    guard let value = take(key, isRequired: isRequired) else { return nil }
    var isSecret = false
    if case .secret = kind { isSecret = true }
    return text(of: value, key, element: nil, isSecret: isSecret, allowsLines: allowsLines)
  }

  /// The text of `value`, through a reference if it is one; nil after an error.
  mutating func text(
    of value: JSONValue, _ key: String, element: Int?, isSecret: Bool = false, allowsLines: Bool = false
  ) -> String? {
    let text: String
    if let plain = value.string {
      text = plain
      if isSecret {
        session.keepSecret(text)
        hidden.append(key)
      }
    } else if let source = Self.reference(value) {
      guard let resolved = resolve(source, key, element) else { return nil }
      text = resolved
    } else {
      failKind(
        key, value, element: element, expected: "a string",
        fix: value.kind == .object
          ? "write text in double quotes, { env: \"NAME\" } or { file: \"path\" }"
          : "put it in double quotes")
      return nil
    }
    let isClean = text.unicodeScalars.allSatisfy {
      $0.value >= 0x20 && $0.value != 0x7f || allowsLines && ($0 == "\n" || $0 == "\r" || $0 == "\t")
    }
    guard isClean else {
      fail(
        "the text contains a control character", at: key, element: element, fix: "remove line ends, tabs and the like")
      return nil
    }
    return text
  }

  /// The source that `{ "env": … }` or `{ "file": … }` names; nil for anything else.
  public static func reference(_ value: JSONValue) -> SecretSource? {
    guard value.kind == .object && value.count == 1 else { return nil }
    if let name = value["env"]?.string { return .environment(name) }
    return value["file"]?.string.map { .file($0) }
  }

  private mutating func resolve(_ source: SecretSource, _ key: String, _ element: Int?) -> String? {
    switch session.resolve(source) {
    case .success(var text):
      // Files made by editors and by `echo` end in a line end that is not part of the secret.
      if case .file = source, text.hasSuffix("\n") || text.hasSuffix("\r\n") { text.removeLast() }
      session.keepSecret(text)
      hidden.append(key)
      return text
    case .failure(let fault):
      let fix: String
      switch source {
      case .environment(let name): fix = "set \(name) in the environment of the process"
      case .file(let path): fix = "make \(path) readable for the process"
      }
      if session.toleratesMissingSecrets {
        warn(fault.message, at: key, element: element, fix: fix)
        // What depends on it cannot be judged.
        failed.append(key)
      } else {
        fail(fault.message, at: key, element: element, fix: fix)
      }
      return nil
    }
  }

  mutating func parsed<T>(
    _ key: String, element: Int? = nil, _ text: String, _ format: OptionFormat, _ parse: (String) -> T?
  ) -> T? {
    if let value = parse(text) { return value }
    let found = format.hidesMistakes ? "the text" : "\"\(text)\""
    fail("\(found) is not \(format.name)", at: key, element: element, fix: "write it like \"\(format.example)\"")
    return nil
  }

  private mutating func choiceOrNil<E: RawRepresentable<String> & CaseIterable>(
    _ key: String, isRequired: Bool, default standard: E?, _ help: String
  ) -> E? {
    let words = E.allCases.map(\.rawValue)
    let text = text(key, .choice(words), isRequired: isRequired, default: standard?.rawValue, help)
    guard let text, !isDescribing else { return standard }
    if let value = E(rawValue: text) { return value }
    let list = words.map { "\"\($0)\"" }.joined(separator: ", ")
    fail(
      "\"\(text)\" is not possible here", at: key,
      fix: Suggestion.fix(text, among: words, otherwise: "write one of \(list)"))
    return nil
  }

  private mutating func durationOrNil(
    _ key: String, isRequired: Bool, default standard: String?, _ range: ClosedRange<Duration>, _ help: String
  ) -> Duration? {
    let text = text(key, .duration(range), isRequired: isRequired, default: standard, help)
    guard let text, !isDescribing else { return nil }
    let format = OptionFormat("a duration", example: "5s")
    guard let value = parsed(key, text, format, { Duration(text: $0) }) else { return nil }
    if range.contains(value) { return value }
    let bounds = "\(range.lowerBound.configurationText) to \(range.upperBound.configurationText)"
    fail("\"\(text)\" is out of range", at: key, fix: "write a duration of \(bounds)")
    return nil
  }

  private mutating func sizeOrNil(
    _ key: String, isRequired: Bool, default standard: String?, _ range: ClosedRange<Int64>, _ help: String
  ) -> Int64? {
    let text = text(key, .size(range), isRequired: isRequired, default: standard, help)
    guard let text, !isDescribing else { return nil }
    guard let value = parsed(key, text, OptionFormat("a size", example: "64KiB"), { ByteCount($0)?.bytes })
    else { return nil }
    if range.contains(value) { return value }
    let most = range.upperBound == .max ? "" : ", at most \(ByteCount(range.upperBound))"
    fail("\"\(text)\" is out of range", at: key, fix: "write at least \(ByteCount(range.lowerBound))\(most)")
    return nil
  }

  /// `text` as a JSON string.
  static func quoted(_ text: String) -> String {
    let buffer = ByteBuffer()
    buffer.appendJSON(string: text)
    return buffer.text
  }
}

extension ClosedRange<Duration> {
  /// From nothing to ten years.
  public static var anyDuration: ClosedRange<Duration> { .zero...(.seconds(315_360_000)) }
}
