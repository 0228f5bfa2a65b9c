//! The columns, in the order in which they are written.

use std::sync::Arc;

use parquet::schema::parser::parse_message_type;
use parquet::schema::types::Type;

const MESSAGE: &str = "
message trajectory {
  required binary item_id (STRING);
  required binary query_key (STRING);
  optional binary source (STRING);
  optional binary category (STRING);
  required int32 index;
  required int64 seed;
  required group order (LIST) { repeated group list { required int32 element; } }
  required binary principles (STRING);
  required binary critique (STRING);
  optional group scores (LIST) { repeated group list { required double element; } }
  optional int32 score_levels;
  optional group score_distribution (LIST) { repeated group list { required double element; } }
  optional double readout_mass;
  required boolean forced;
  optional binary failure (STRING);
  optional binary failure_detail (STRING);
  required binary finish (STRING);
  required binary issues (STRING);
  required int32 prompt_tokens;
  required int32 generated_tokens;
  optional double meta_score;
  optional group hidden_state (LIST) { repeated group list { required float element; } }
  optional boolean is_correct;
  required binary model (STRING);
  required binary model_digest (STRING);
  required binary numerics (STRING);
  required binary method_digest (STRING);
  required binary settings (STRING);
  optional binary meta_digest (STRING);
  optional binary meta_numerics (STRING);
}
";

/// The schema of a file of trajectories.
pub(super) fn schema() -> Arc<Type> {
    Arc::new(parse_message_type(MESSAGE).expect("a test parses it"))
}
