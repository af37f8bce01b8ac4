create view training_curves as
select
    run_id,
    stage,
    name,
    step,
    value,
    avg(value) over (
        partition by run_id, stage, name order by step rows between 19 preceding and current row
    ) as smoothed
from training_steps
order by run_id, stage, name, step;

comment on view training_curves is 'Training curves. Grain: run, stage, name, step.';
comment on column training_curves.smoothed is 'Mean over this and up to 19 earlier logged steps.';
comment on column training_curves.run_id is 'The run the row is about; joins runs.';
comment on column training_curves.stage is 'Training stage: base, lora, diffusion_forcing or distill.';
comment on column training_curves.name is 'What was logged: loss, grad_norm, learning_rate, ...';
comment on column training_curves.step is 'Optimiser step.';
comment on column training_curves.value is 'The value as logged.';
