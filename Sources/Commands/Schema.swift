import Gateway

extension Verb {
  /// `sluice schema`.
  static let schema = Verb(
    "schema", "", summary: "print the JSON Schema of the configuration file",
    description: "Editors complete and check with it: save it beside the file, and write its name behind $schema.",
    options: [], examples: ["sluice schema > sluice.schema.json"]
  ) { arguments throws(UsageError) in
    guard arguments.operands.isEmpty else { throw UsageError("schema takes no operands; redirect its output") }
    Console.output(BlueprintSchema.text())
    return .done
  }
}
