import Core

/// What there is to know about one option; the schema, `sluice policies` and the README are written from it.
public struct OptionDescription: Sendable {
  /// The key.
  public let name: String
  /// What may stand behind the key.
  public let kind: Kind
  /// Whether the key must be there.
  public let isRequired: Bool
  /// What holds where the key is left out, as JSON text; nil where nothing does.
  public let defaultText: String?
  /// What the option does, one or two sentences.
  public let help: String

  /// An option.
  public init(name: String, kind: Kind, isRequired: Bool, defaultText: String?, help: String) {
    self.name = name
    self.kind = kind
    self.isRequired = isRequired
    self.defaultText = defaultText
    self.help = help
  }

  /// The shapes of a value.
  public indirect enum Kind: Sendable {
    /// Text; also as a reference, as are all kinds below that are written in quotes.
    case string
    /// Text that no message ever shows.
    case secret
    /// Text of a certain form.
    case format(OptionFormat)
    /// One of these words.
    case choice([String])
    /// A duration.
    case duration(ClosedRange<Duration>)
    /// A size; the range is in bytes.
    case size(ClosedRange<Int64>)
    /// `true` or `false`.
    case bool
    /// A whole number.
    case integer(ClosedRange<Int64>)
    /// A number.
    case number(ClosedRange<Double>)
    /// An array; `allowsSingle` where one element may stand without the brackets.
    case list(Kind, allowsSingle: Bool)
    /// An object whose keys are free.
    case map(Kind)
    /// An object with these options; `shorthand` names the one that a plain value in its place stands for.
    case object([OptionDescription], shorthand: String?)
    /// A shape that is described once elsewhere, by name.
    case definition(String)
  }
}

/// A form of text: how it is called, an example, and a pattern for editors.
public struct OptionFormat: Sendable {
  /// The form with its article: `a CIDR`.
  public let name: String
  /// A text that has it.
  public let example: String
  /// A regular expression (ECMA 262) that every such text matches; nil where none is worth it.
  public let pattern: String?
  /// Whether a text that does not have it may be a secret in the wrong place, which no message may repeat.
  public let hidesMistakes: Bool

  /// A form of text.
  public init(_ name: String, example: String, pattern: String? = nil, hidesMistakes: Bool = false) {
    self.hidesMistakes = hidesMistakes
    self.name = name
    self.example = example
    self.pattern = pattern
  }
}
