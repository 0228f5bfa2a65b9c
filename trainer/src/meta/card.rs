//! The model card: what a head is, what it was trained on, and how good it is, for a reader of Markdown.

use super::{EpochLoss, MetaConfig, MetaReport, PartReport, Sampling};

// === impl MetaReport ===

impl MetaReport {
    /// The card as Markdown, for a head in a file named `file`; its pictures are next to that file.
    pub fn to_markdown(&self, file: &str) -> String {
        let MetaConfig { name, model_digest, place, inner, seed, shares, .. } = &self.config;
        let kind = match inner {
            0 => "linear".to_owned(),
            inner => format!("one inner layer of {inner} numbers with ReLU"),
        };
        let part = |name: &str, PartReport { rows, correct, queries }: PartReport| {
            let share = 100.0 * correct as f64 / rows as f64;
            format!("| {name} | {queries} | {rows} | {share:.1} % |\n")
        };
        let parts = [
            part("training", self.train),
            part("validation", self.validation),
            part("test", self.test),
        ]
        .concat();
        let curve: String = self
            .curve
            .iter()
            .map(|EpochLoss { epoch, train, validation }| {
                let mark = if *epoch == self.best_epoch { " (kept)" } else { "" };
                format!("| {epoch}{mark} | {train:.4} | {validation:.4} |\n")
            })
            .collect();
        let MetaConfig { learning_rate, weight_decay, batch, max_epochs, patience, .. } =
            &self.config;
        format!(
            "# {name}\n\n\
             A Meta RM for Jury: a head on a model's hidden state at {place}. Its score is the logit that the sample is correct.\n\n\
             {finding}\n\n\
             | | |\n|---|---|\n\
             | model it is bound to (SHA-256) | `{model_digest}` |\n\
             | kind | {kind}, over {width} numbers |\n\
             | data digest (BLAKE3) | `{data_digest}` |\n\
             | expected calibration error (test) | {error:.3} |\n\n\
             ![How its probabilities hold on the test part]({file}.reliability.svg)\n\n\
             {sampling}\
             ## Data\n\n\
             No query stands in two parts. Shares of the queries: validation {validation}, test {test}; seed {seed}. The validation part \
             told when to stop and calibrated, the test part only measured.\n\n\
             | part | queries | samples | correct |\n|---|---|---|---|\n{parts}\n\
             ## Training\n\n\
             Binary cross-entropy, correct and wrong samples weighing the same; AdamW with learning rate {learning_rate}, weight decay \
             {weight_decay}, {batch} samples a step; at most {max_epochs} passes, ended after {patience} without a lower validation loss. \
             Losses are in nats; 0.693 is no knowledge.\n\n\
             ![Losses by pass]({file}.loss.svg)\n\n\
             | pass | training loss | validation loss |\n|---|---|---|\n{curve}",
            finding = self.finding(),
            sampling = self.config.sampling.as_ref().map(Sampling::to_markdown).unwrap_or_default(),
            file = file.replace(' ', "%20"),
            width = self.width,
            data_digest = self.data_digest,
            error = self.calibration_error,
            validation = shares.validation,
            test = shares.test,
        )
    }
}

// === impl Sampling ===

impl Sampling {
    fn to_markdown(&self) -> String {
        let Self { judge, items, part, split_seed, k, temperature, max_critique_tokens, seed } =
            self;
        let code = |text: &String| format!("`{}`", text.replace('`', "'"));
        let items: Vec<String> = items.iter().map(code).collect();
        format!(
            "## Samples\n\n\
             | | |\n|---|---|\n\
             | judge | {judge} |\n\
             | items | {items} |\n\
             | part | {part}; split seed {split_seed} |\n\
             | samples an item (k) | {k} |\n\
             | temperature | {temperature} |\n\
             | longest critique | {max_critique_tokens} tokens |\n\
             | seed | {seed} |\n\n",
            judge = code(judge),
            items = items.join(" ").replace('|', "\\|"),
        )
    }
}
