import Gateway

extension Verb {
  /// `sluice schema`.
  static let schema = Verb(
    "schema", "[OPTIONS]", summary: "print the JSON Schema of the configuration file",
    description: "Editors complete and check with it: save it beside the file, and write its name behind $schema.",
    options: [Option("--router", nil, "that of a router's file")],
    examples: ["sluice schema > sluice.schema.json", "sluice schema --router > router.schema.json"]
  ) { arguments throws(UsageError) in
    guard arguments.operands.isEmpty else { throw UsageError("schema takes no operands; redirect its output") }
    Console.output(BlueprintSchema.text(ofRouter: arguments.has("--router")))
    return .done
  }
}
