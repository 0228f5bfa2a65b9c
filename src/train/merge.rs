//! `jury train merge`: merges an adapter into its model's weights, for programs that do not support adapters.

use jury_engine::Adapter;
use jury_engine::merge::{FloatType, MergeError, merge};
use jury_grm::domain::json_line;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_terminal::model::{adapter_at, load_failed, model_failed, store};
use jury_worker::models::ModelRef;
use serde_json::json;

use crate::args::{DtypeArg, TrainMergeArgs};

pub fn run(args: &TrainMergeArgs) -> Result<Exit, Failed> {
    let meter = Meter::new(args.quiet);
    let adapter = Adapter::read(&adapter_at(&args.adapter)).map_err(load_failed)?;
    let reference = ModelRef::parse(&args.model).map_err(model_failed)?;
    let merged = tokio::task::block_in_place(|| {
        let model = store(args.cache.folder()).resolve(&reference, &meter).map_err(model_failed)?;
        let float_type = args.dtype.map(|dtype| match dtype {
            DtypeArg::Bf16 => FloatType::Bf16,
            DtypeArg::F32 => FloatType::F32,
        });
        merge(&model.path, &adapter, &args.out, float_type, &mut |done, all| {
            meter.stage(&format!("merging: tensor {done} of {all}"));
        })
        .map_err(merge_failed)
    });
    meter.clear();
    let merged = merged?;
    let out = args.out.display();
    let said = if args.json {
        json_line(&json!({
            "out": args.out, "weights": merged.weights, "bytes": merged.bytes,
            "tensors": merged.tensors, "changed": merged.changed, "adapter_digest": adapter.digest(),
        }))
        .or_exit(Exit::Internal)?
    } else {
        format!(
            "{out} is the merged model: {} of {} tensors changed, {:.0} MB.\nUse it: jury score ITEM --model {out}\n",
            merged.changed,
            merged.tensors,
            merged.bytes as f64 / 1e6
        )
    };
    crate::score::print(&said)?;
    Ok(Exit::Done)
}

pub fn merge_failed(error: MergeError) -> Failed {
    let exit = match error {
        MergeError::Load(error) => return load_failed(error),
        MergeError::Adapter(_) => Exit::BadData,
        MergeError::Write { .. } => Exit::CannotWrite,
        _ => Exit::Usage,
    };
    Failed::new(exit, error)
}
